"""Tests of gradient descent: its steps, its order, its largest stable step, sampled views."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from vcreg_theory import seeding
from vcreg_theory.dynamics import (
    DirectSet,
    Diverged,
    Equations,
    Learned,
    block_moments,
    commuting_moments,
    descend,
    descend_sampled,
    mode_fixed_points,
    pair_jacobians,
    relaxation_rates,
    semi_gradient,
    simulate,
    step_bounds,
    swap_rates,
    view_moments,
    view_sampler,
)

KAPPA = {"clean": lambda x, c: x, "augmented": lambda x, c: c, "gram": lambda x, c: np.ones(len(x))}


@pytest.fixture
def rng() -> np.random.Generator:
    return seeding.numpy_generator(0, "descent")


def _generic(rng, d=4):
    """Moments that do not commute, Sigma of norm 1."""
    a, b = rng.standard_normal((2, d, d + 2))
    Sigma = a @ a.T + b @ b.T
    return a @ a.T / np.linalg.norm(Sigma, 2), Sigma / np.linalg.norm(Sigma, 2)


# --- steps ------------------------------------------------------------------------------------


def test_descend__one_step_of_all_parts(rng):
    X, Sigma = _generic(rng)
    W, W_a, W_p = rng.standard_normal((3, 4)), rng.standard_normal((3, 4)), np.eye(3)
    rule = Learned(W_p, rate=2.0, weight_decay=0.3)
    run = descend(
        W,
        X,
        Sigma,
        step=0.1,
        steps=1,
        predictor=rule,
        target_rate=0.5,
        target=W_a,
        weight_decay=0.2,
    )
    slope = semi_gradient(W, W_p, W_a, X, Sigma)
    np.testing.assert_allclose(run.W[1], W - 0.1 * (slope.W + 0.2 * W), atol=1e-14)
    np.testing.assert_allclose(run.W_p[1], W_p - 0.1 * (2 * slope.W_p + 0.3 * W_p), atol=1e-14)
    np.testing.assert_allclose(run.W_a[1], W_a + 0.1 * 0.5 * (W - W_a), atol=1e-14)


def test_descend__records_what_is_asked(rng):
    X, Sigma = _generic(rng)
    W = 0.5 * np.eye(4)
    whole = descend(W, X, Sigma, step=0.01, steps=7, every=1)
    some = descend(W, X, Sigma, step=0.01, steps=7, every=3)
    ends = descend(W, X, Sigma, step=0.01, steps=7)
    np.testing.assert_array_equal(some.W, whole.W[[0, 3, 6]])
    np.testing.assert_array_equal(ends.W, whole.W[[0, 7]])
    np.testing.assert_allclose(some.times, [0, 0.03, 0.06])


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("rk4", 4)])
def test_descend__approaches_the_flow_at_its_order(rng, method, order):
    X, Sigma = _generic(rng)
    W, rule = 0.5 * rng.standard_normal((3, 4)), DirectSet(1.0, eps=0.1, averaging=2.0)
    options = {"predictor": rule, "target_rate": 0.7, "weight_decay": 0.1}
    exact = simulate(W, X, Sigma, times=[1.6], rtol=1e-13, atol=1e-14, **options).W[0]
    errors = []
    for steps in (40, 80):
        run = descend(W, X, Sigma, step=1.6 / steps, steps=steps, method=method, **options)
        errors.append(np.abs(run.W[-1] - exact).max())
    # The next order is a few steps, of 0.04, relative to it.
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.15)


def test_descend__reports_divergence_with_its_step():
    with pytest.raises(Diverged, match=r"had diverged by step \d+, time") as caught:
        descend(3 * np.eye(2), np.eye(2), np.eye(2), step=1.0, steps=100)
    assert 1 < caught.value.steps < 20 and caught.value.time == caught.value.steps
    for alpha in (0.5, 2.0, 3.0):  # also where eigenvalues are computed, without a warning
        with pytest.raises(Diverged):
            descend(
                9 * np.eye(2),
                *[np.eye(2)] * 2,
                step=5.0,
                steps=99,
                predictor=DirectSet(alpha),
                method="rk4",
            )


# --- linear stability -------------------------------------------------------------------------


def _spectrum(x, c, eta, alpha, correlation, held, rows):
    """Eigenvalues of the flow's Jacobian at an aligned fixed point, by complex steps or none.

    Central differences of the dense field in every entry: nothing is shared with the blocks.
    """
    p = mode_fixed_points(x, c, eta).upper[held]
    s = np.sqrt(p ** (1 / alpha) / KAPPA[correlation](x, c)[held])
    W = np.zeros((rows, len(x)))
    W[np.arange(len(s)), np.flatnonzero(held)] = s
    system = Equations(eta, DirectSet(alpha, correlation=correlation, clip=alpha not in (1, 2)))
    X, Sigma = np.diag(x), np.diag(c)

    def speed(V):
        return system.velocity(0.0, system.start(V, X, Sigma), X, Sigma).W

    assert np.abs(speed(W)).max() < 1e-13
    columns = []
    for entry in np.ndindex(W.shape):
        e = np.zeros_like(W)
        e[entry] = 1e-5
        columns.append((speed(W + e) - speed(W - e)).ravel() / 2e-5)
    return np.linalg.eigvals(np.array(columns).T)


SPECTRA = st.lists(
    st.tuples(st.floats(0.4, 1.5), st.floats(1.0, 4.0)), min_size=2, max_size=4, unique=True
)


@settings(max_examples=30)
@given(SPECTRA, st.floats(0.02, 0.9), st.sampled_from([1.0, 2.0]), st.sampled_from(sorted(KAPPA)))
def test_step_bounds__are_those_of_the_whole_jacobian(pairs, share, alpha, correlation):
    x, ratio = np.array(pairs).T
    c = x * ratio
    critical = x**2 / (4 * c)
    eta = share * critical.max()
    held = eta < critical
    assume((np.abs(eta / critical - 1) > 0.02).all())
    try:
        bounds = step_bounds(x, c, eta, alpha, correlation=correlation)
    except ValueError as error:
        assert "must be linearly stable" in str(error)
        assert _spectrum(x, c, eta, alpha, correlation, held, len(x)).real.max() > 1e-7
        return
    values = _spectrum(x, c, eta, alpha, correlation, held, len(x))
    # Second differences of 1e-5 leave 1e-10 times third derivatives, of order 100.
    assert np.abs(values.imag).max() < 1e-4  # all rates are real: double ones split by roots
    assert bounds.largest == pytest.approx(-2 / values.real.min(), rel=1e-5)


@pytest.mark.parametrize("correlation", sorted(KAPPA))
def test_step_bounds__for_the_root_of_the_correlation(correlation):
    # alpha = 1/2 is differentiable only where the correlation has full rank: all modes held.
    x, c, eta = np.array([1.1, 0.8, 0.9]), np.array([2.0, 1.0, 1.3]), 0.1
    bounds = step_bounds(x, c, eta, 0.5, correlation=correlation)
    values = _spectrum(x, c, eta, 0.5, correlation, np.ones(3, dtype=bool), 3)
    assert bounds.largest == pytest.approx(-2 / values.real.min(), rel=1e-6)
    assert bounds.transverse == bounds.dead == np.inf


def test_step_bounds__two_modes_that_are_held_can_be_the_stiffest():
    x = np.array([1.099, 0.770, 0.813, 0.295])
    c = x + np.array([3.024, 1.570, 0.361, 1.084])
    bounds = step_bounds(x, c, 0.0366, 0.5)
    held = x**2 / (4 * c) > 0.0366
    assert bounds.pair == bounds.largest == pytest.approx(1.667, abs=5e-4)
    assert bounds.aligned > 4 and bounds.transverse > 4  # the other bounds are far from it
    p = mode_fixed_points(x, c, 0.0366).upper
    fixed = np.diag(np.where(held, p / np.sqrt(x), 0.0))
    start = fixed + 1e-4 * (np.arange(16).reshape(4, 4) % 5 - 2)

    def off(step):
        options = {"step": step, "steps": 2000, "weight_decay": 0.0366}
        run = descend(start, np.diag(x), np.diag(c), predictor=DirectSet(0.5), **options)
        gram = run.gram[-1]
        return np.abs(gram - fixed @ fixed).max()

    assert off(0.97 * bounds.pair) < 1e-10 < 1e-3 < off(1.03 * bounds.pair)
    with pytest.raises(Diverged):
        off(1.5 * bounds.pair)


def test_step_bounds__closed_forms_of_the_block_model():
    sigma2, eta = 30.0, 0.1
    bounds = step_bounds([1.0, 1.0], [1.0, 1 + sigma2], eta, 1.0)
    root = np.sqrt(1 - 4 * eta)
    p = (1 + root) / 2
    assert bounds.aligned == pytest.approx(1 / (p * root), rel=1e-13)
    assert bounds.transverse == pytest.approx(2 / (sigma2 * p**2), rel=1e-13)
    assert bounds.dead == pytest.approx(2 / eta) and bounds.pair == np.inf
    one_row = step_bounds([1.0, 1.0], [1.0, 1 + sigma2], eta, 1.0, rows=1)
    assert one_row.dead == np.inf and one_row[:3] == bounds[:3]


def test_step_bounds__of_modes_that_are_chosen():
    # Both choices are stable although the larger p_+ is that of the first.
    x, c = np.array([1.0, 10.0]), np.array([1.0, 10 / 0.3])
    for held in ([True, False], [False, True]):
        bounds = step_bounds(x, c, 0.24, 1.0, held=held, rows=1)
        values = _spectrum(x, c, 0.24, 1.0, "clean", np.array(held), 1)
        assert bounds.largest == pytest.approx(-2 / values.real.min(), rel=1e-6)


def test_swap_rates__closed_form_and_factors():
    x, c, eta = np.array([1.0, 1.0, 3.0, 0.4]), np.array([1.1, 2.0, 6.0, 1.0]), 0.05
    rates = swap_rates(x, c, eta)
    lower, upper = mode_fixed_points(x, c, eta)
    live = [0, 1, 2]
    for j in live:
        for k in live:
            factored = -c[k] * (upper[j] - lower[k]) * (upper[j] - upper[k]) * (j != k)
            assert rates[j, k] == pytest.approx(factored, abs=1e-14)
    assert np.isnan(rates[3]).all() and not np.isnan(rates[:3]).any()
    # The mode of largest p_+ is not displaced; it displaces the others.
    assert (rates[0, 1:] < 0).all() and (rates[1:3, 0] > 0).all()


def test_swap_rates__the_start_decides_where_both_choices_are_stable():
    x, c, eta = np.array([1.0, 10.0]), np.array([1.0, 10 / 0.3]), 0.24
    rates = swap_rates(x, c, eta)
    assert rates[0, 1] < 0 and rates[1, 0] < 0
    upper = mode_fixed_points(x, c, eta).upper
    for j in (0, 1):
        W = np.full((1, 2), 1e-3)
        W[0, j] = np.sqrt(upper[j] / x[j])
        options = {"times": [300.0], "weight_decay": eta}
        run = simulate(W, np.diag(x), np.diag(c), **options)
        assert abs(run.W[0, 0, 1 - j]) < 1e-6 and run.W_p[0, 0, 0] == pytest.approx(upper[j])


@pytest.mark.parametrize("correlation", sorted(KAPPA))
@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_pair_jacobians__have_a_zero_mode_and_their_trace_is_a_rate(alpha, correlation):
    x, c, eta = np.array([1.1, 0.8]), np.array([2.0, 1.0]), 0.08
    J = pair_jacobians(x, c, eta, alpha, correlation=correlation)
    assert np.linalg.det(J[0, 1]) == pytest.approx(0, abs=1e-15)
    np.testing.assert_allclose(J[0, 1], J[1, 0][::-1, ::-1], atol=1e-15)
    values = np.sort(_spectrum(x, c, eta, alpha, correlation, np.ones(2, dtype=bool), 2).real)
    rates = relaxation_rates(x, c, eta, alpha).upper
    expected = np.sort([0.0, np.trace(J[0, 1]), *rates])
    np.testing.assert_allclose(values, expected, atol=1e-8)


def test_pair_jacobians__of_equal_modes_is_the_limit():
    one = pair_jacobians([1.0, 1.0], [2.0, 2.0], 0.1, 0.7)[0, 1]
    near = pair_jacobians([1.0, 1.0 + 1e-9], [2.0, 2.0], 0.1, 0.7)[0, 1]
    np.testing.assert_allclose(one, near, atol=1e-8)


# --- sampled views ----------------------------------------------------------------------------


def test_descend_sampled__of_one_fixed_batch_is_descent_on_its_moments(rng):
    X, Sigma, _ = block_moments(4, 2, 1.0)
    x1, x2 = view_sampler(X, Sigma, 30)(rng)
    options = {"step": 0.05, "steps": 20, "weight_decay": 0.1, "target_rate": 2.0}
    rule = DirectSet(2.0, correlation="augmented")
    W = 0.2 * rng.standard_normal((3, 4))
    found = descend_sampled(
        W, X, Sigma, lambda g: (x1, x2), generator=rng, predictor=rule, **options
    )
    expected = descend(W, *view_moments(x1, x2), predictor=rule, **options)
    np.testing.assert_allclose(found.W, expected.W, atol=1e-13)


@pytest.mark.parametrize("averaging", [None, 0.5])
def test_descend_sampled__takes_the_predictor_from_its_own_views(rng, averaging):
    X, Sigma, _ = block_moments(3, 1, 1.0)
    one, other = (view_sampler(X, Sigma, 30)(rng) for _ in range(2))
    rule = DirectSet(1.0, correlation="augmented", averaging=averaging)
    W = 0.5 * rng.standard_normal((3, 3))
    run = descend_sampled(
        W,
        X,
        Sigma,
        lambda g: one,
        predictor_views=lambda g: other,
        generator=rng,
        step=0.1,
        steps=2,
        predictor=rule,
    )
    mean, (X1, S1), S2 = W @ Sigma @ W.T, view_moments(*one), view_moments(*other).Sigma
    for _ in range(2):
        batch = W @ S2 @ W.T
        P = batch if averaging is None else mean
        # An average of weight 1 - 0.1 / 0.5 on the old value, of the predictor's own batch.
        W, mean = W + 0.1 * P @ (W @ X1 - P @ W @ S1), 0.8 * mean + 0.2 * batch
    np.testing.assert_allclose(run.W[-1], W, atol=1e-14)
    last = W @ Sigma @ W.T if averaging is None else mean
    np.testing.assert_allclose(run.W_p[-1], last, atol=1e-14)


def test_descend_sampled__is_unbiased_and_reproducible(rng):
    X, Sigma = _generic(rng, 3)
    W, P = rng.standard_normal((2, 3)), rng.standard_normal((2, 2))
    draw, options = view_sampler(X, Sigma, 4), {"step": 1.0, "predictor": P, "weight_decay": 0.3}
    steps = np.stack(
        [
            descend_sampled(W, X, Sigma, draw, generator=rng, steps=1, **options).W[1]
            for _ in range(400)
        ]
    )
    expected = descend(W, X, Sigma, steps=1, **options).W[1]
    score = (steps.mean(0) - expected) / (steps.std(0, ddof=1) / np.sqrt(400))
    assert np.abs(score).max() < 5  # six entries of nearly normal means: chance below 1e-5
    runs = [
        descend_sampled(W, X, Sigma, draw, generator=np.random.default_rng(1), steps=2, **options).W
        for _ in range(2)
    ]
    np.testing.assert_array_equal(*runs)


ONE = np.eye(2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: descend(ONE, ONE, ONE, step=0.0, steps=1), "step must be positive"),
        (lambda: descend(ONE, ONE, ONE, step=0.1, steps=0), "steps must be at least 1"),
        (lambda: descend(ONE, ONE, ONE, step=0.1, steps=1, every=0), "every must be at least 1"),
        (lambda: descend(ONE, ONE, ONE, step=0.1, steps=1, method="x"), "method must be one of"),
        (lambda: step_bounds([1.0, 1.0], [1, 2], 0.1, 1.0, held=[1, 0]), "held must be"),
        (lambda: step_bounds([1.0], [1.0], 0.3, 1.0, held=[True]), "below their threshold"),
        (
            lambda: step_bounds([1.0, 1.0], [1, 2], 0.1, 1.0, held=[False, True], rows=1),
            "a mode that is not held displaces one that is",
        ),
        (lambda: step_bounds([1.0, 1.0], [1, 1], 0.1, 1.0, rows=1), "rows must be at least 2"),
        (lambda: swap_rates(1.0, 1.0, 0.1), "x and c must be vectors"),
        (
            lambda: descend_sampled(
                ONE, ONE, ONE, None, generator=None, step=1.0, steps=1, predictor=DirectSet()
            ),
            "predictor must have clip=True or another correlation",
        ),
        (
            lambda: descend_sampled(
                ONE,
                ONE,
                ONE,
                lambda g: (np.ones((3, 1)),) * 2,
                generator=np.random.default_rng(),
                step=1.0,
                steps=1,
            ),
            "views must draw arrays with 2 columns, got 1",
        ),
    ],
)
def test_descent__errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_commuting_moments__and_descent_settle_below_the_bound_and_not_above(rng):
    # Each kind of block in turn, in a rotated basis, from a generic start nearby.
    cases = {"aligned": ([1.0], [1.0], 0.1), "transverse": ([1.0, 1.0], [1.0, 31.0], 0.1)}
    for kind, (x, c, eta) in cases.items():
        bounds = step_bounds(x, c, eta, 1.0)
        assert bounds.largest == getattr(bounds, kind)
        X, Sigma = commuting_moments(x, c, generator=rng)
        root = np.sqrt(mode_fixed_points(1.0, 1.0, eta).upper)
        start = root * np.eye(len(x)) + 1e-3 * rng.standard_normal((len(x),) * 2)
        if kind == "transverse":
            V = np.linalg.eigh(Sigma)[1]
            start = root * np.outer(V[:, 0], V[:, 0]) + 1e-3 * rng.standard_normal((2, 2))
        options = {"steps": 3000, "weight_decay": eta}
        run = descend(start, X, Sigma, step=0.97 * bounds.largest, **options)
        assert np.linalg.norm(run.gram[-1], 2) == pytest.approx(root**2, rel=1e-9)
        try:
            run = descend(start, X, Sigma, step=1.03 * bounds.largest, **options)
            assert abs(np.linalg.norm(run.gram[-1], 2) / root**2 - 1) > 1e-3
        except Diverged:
            pass

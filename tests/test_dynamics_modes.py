"""Tests of single modes: fixed points, thresholds, basins, exact times and trajectories."""

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, optimize

from vcreg_theory.dynamics import (
    basin_boundary,
    critical_gap,
    critical_weight_decay,
    fixed_points,
    ghost_time,
    mode_critical_weight_decay,
    mode_fixed_points,
    mode_time,
    mode_trajectory,
    relaxation_rates,
    weight_trajectory,
)

X, C = 1.3, 2.1  # one anisotropic mode, for tests that need only one
CRITICAL = X**2 / (4 * C)
SHARES = st.floats(0.01, 0.98)  # of the critical weight decay
VARIANCES = st.tuples(st.floats(0.1, 10), st.floats(1, 5)).map(lambda v: (v[0], v[0] * v[1]))


def _speed(p, x, c, eta, alpha):
    return 2 * alpha * p * (x * p - c * p * p - eta)


def _integrated(t, p0, x, c, eta, alpha):
    """The value at time t by an integrator, in the logarithm of p, which keeps small values."""

    def slope(_, y):
        p = np.exp(y)
        return 2 * alpha * (x * p - c * p * p - eta)

    found = integrate.solve_ivp(
        slope, (0, t), [np.log(p0)], method="DOP853", rtol=3e-14, atol=1e-14
    )
    return float(np.exp(found.y[0, -1]))


# --- fixed points -----------------------------------------------------------------------------


def test_fixed_points__closed_form():
    found = fixed_points([0.5, 1.0, 2.0], 0.0, 3 / 16)
    np.testing.assert_allclose(found.lower, 0.25, rtol=1e-15)
    np.testing.assert_allclose(found.upper, 0.75, rtol=1e-15)
    np.testing.assert_allclose(found.lower_weight, [0.25, 0.5, 0.25**0.25], rtol=1e-15)
    np.testing.assert_allclose(found.upper_weight, [0.75, 0.75**0.5, 0.75**0.25], rtol=1e-15)


@given(VARIANCES, SHARES)
def test_mode_fixed_points__solve_their_equation(variances, share):
    x, c = variances
    eta = share * x**2 / (4 * c)
    lower, upper = mode_fixed_points(x, c, eta)
    assert lower + upper == pytest.approx(x / c, rel=1e-13)  # Vieta
    assert lower * upper == pytest.approx(eta / c, rel=1e-13)
    assert 0 < lower < upper


def test_mode_fixed_points__the_lower_one_keeps_its_digits_for_small_weight_decay():
    with mpmath.workdps(50):
        eta = mpmath.mpf(1e-12)
        exact = (X - mpmath.sqrt(mpmath.mpf(X) ** 2 - 4 * eta * mpmath.mpf(C))) / (
            2 * mpmath.mpf(C)
        )
    assert float(mode_fixed_points(X, C, 1e-12).lower) == pytest.approx(float(exact), rel=1e-15)


def test_mode_fixed_points__meet_at_the_threshold_and_end_there():
    sigma2 = np.linspace(0, 5, 1001)
    at = fixed_points(1.0, sigma2, critical_weight_decay(sigma2))
    np.testing.assert_allclose(at.lower, 1 / (2 * (1 + sigma2)), rtol=1e-15)
    np.testing.assert_array_equal(at.lower, at.upper)
    above = fixed_points(1.0, sigma2, critical_weight_decay(sigma2) * (1 + 1e-14))
    assert all(np.isnan(part).all() for part in above)


@given(VARIANCES)
def test_mode_critical_weight_decay__is_the_largest_rate_of_growth(variances):
    x, c = variances
    best = optimize.minimize_scalar(lambda p: c * p * p - x * p, bounds=(0, 1), method="bounded")
    # A quadratic maximum: the found value is short by c times the squared error of p, 1e-5.
    assert mode_critical_weight_decay(x, c) == pytest.approx(-best.fun, abs=c * 1e-10)


def test_critical_weight_decay__closed_form_and_scaling():
    np.testing.assert_array_equal(critical_weight_decay([0.0, 1.0, 3.0]), [1 / 4, 1 / 8, 1 / 16])
    # Variance times invariance: equal ratios, other thresholds.
    np.testing.assert_allclose(mode_critical_weight_decay([1, 3], [2, 6]), [1 / 8, 3 / 8])


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_relaxation_rates__are_derivatives_of_the_speed(alpha):
    eta = 0.6 * CRITICAL
    points = (0.0, *mode_fixed_points(X, C, eta))
    for rate, p in zip(relaxation_rates(X, C, eta, alpha), points, strict=True):
        by_step = _speed(p + 1e-30j, X, C, eta, alpha).imag / 1e-30  # exact: no difference is taken
        assert rate == pytest.approx(by_step, rel=1e-13)


@pytest.mark.parametrize("correlation", ["clean", "augmented", "gram"])
@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_basin_boundary__separates_what_lives_from_what_dies(alpha, correlation):
    eta = 0.6 * CRITICAL
    edge = basin_boundary(X, C, eta, alpha, correlation=correlation)
    kept, lost = weight_trajectory(
        500.0, edge * (1 + np.array([1e-9, -1e-9])), X, C, eta, alpha, correlation=correlation
    )
    kappa = {"clean": X, "augmented": C, "gram": 1.0}[correlation]
    assert (kappa * kept**2) ** alpha == pytest.approx(mode_fixed_points(X, C, eta).upper)
    assert lost < 1e-10


# --- times ------------------------------------------------------------------------------------


def _literal(p, p0, eta, alpha):
    """The statement of the claim, term by term, in 40 digits."""
    p, p0, x, c, eta = map(mpmath.mpf, (p, p0, X, C, eta))
    root = mpmath.sqrt(x**2 - 4 * eta * c)
    low, high = (x - root) / (2 * c), (x + root) / (2 * c)
    return -(
        mpmath.log(p / p0) / (low * high)
        + mpmath.log(abs((p - low) / (p0 - low))) / (low * (low - high))
        + mpmath.log(abs((p - high) / (p0 - high))) / (high * (high - low))
    ) / (2 * alpha * c)


@pytest.mark.parametrize("share", [1e-9, 0.01, 0.5, 0.99, 1 - 1e-9])
def test_mode_time__is_the_stated_sum(share):
    eta = share * CRITICAL
    low, high = mode_fixed_points(X, C, eta)
    pairs = [(low / 2, low / 7), (low + 0.9 * (high - low), low + 0.2 * (high - low)), (1.1, 3)]
    for p, p0 in pairs:
        with mpmath.workdps(40):
            exact = float(_literal(p, p0, eta, 1.5))
        # Conditioning: D loses X^2 u of its digits, p next to a fixed point (high - low) / 10.
        near = X**2 / (X**2 - 4 * eta * C) + 10 / (high - low)
        rounding = 1e-13 + 20 * np.finfo(float).eps * (near if p < 1 else 1)
        assert mode_time(p, p0, X, C, eta, 1.5) == pytest.approx(exact, rel=rounding)


@pytest.mark.parametrize("share", [0, 0.3, 1, 1.2, 30])
@pytest.mark.parametrize(("p0", "p"), [(0.02, 0.01), (2.0, 0.7), (0.7, 2.0)])
def test_mode_time__is_the_integral_of_the_inverse_speed(share, p0, p):
    eta = share * CRITICAL
    by_quadrature = integrate.quad(
        lambda q: 1 / _speed(q, X, C, eta, 0.7), p0, p, epsabs=0, epsrel=1e-13
    )[0]
    assert mode_time(p, p0, X, C, eta, 0.7) == pytest.approx(by_quadrature, rel=1e-12)


def test_mode_time__is_continuous_in_the_weight_decay():
    for eta in (1e-15, CRITICAL * (1 - 1e-14), CRITICAL, CRITICAL * (1 + 1e-13)):
        nearest = 0.0 if eta < CRITICAL / 2 else CRITICAL
        one, other = (mode_time(0.7, 2.0, X, C, e, 1.0) for e in (eta, nearest))
        # The derivative in eta is of order 10; atan and logarithms cancel at 1e-7 of root D.
        assert one == pytest.approx(other, rel=1e-8)


def test_mode_time__adds_up_and_runs_backwards():
    eta = 0.5 * CRITICAL
    a, b, c = 0.3, 0.4, 0.5
    whole = mode_time(c, a, X, C, eta, 1.0)
    parts = mode_time(b, a, X, C, eta, 1.0) + mode_time(c, b, X, C, eta, 1.0)
    assert whole == pytest.approx(parts, rel=1e-13) and whole > 0
    assert mode_time(a, c, X, C, eta, 1.0) == -whole


def test_mode_time__refuses_a_fixed_point_on_the_way():
    eta = 0.5 * CRITICAL
    low, high = mode_fixed_points(X, C, eta)
    for p0, p in ((low / 2, (low + high) / 2), ((low + high) / 2, 2.0), (low, high), (high, 2.0)):
        with pytest.raises(ValueError, match="must have no fixed point between"):
            mode_time(p, p0, X, C, eta, 1.0)


def test_ghost_time__is_the_leading_order():
    # From 1 to 0.01, past x / 2c: the exact time less the estimate stays bounded, so that the
    # relative error falls tenfold where the distance to the threshold falls a hundredfold.
    errors = []
    for distance in (1e-5, 1e-7):
        eta = CRITICAL + distance
        exact = mode_time(0.01, 1.0, X, C, eta, 0.7)
        errors.append(exact / ghost_time(X, C, eta, 0.7) - 1)
    assert abs(errors[1]) < 1e-2 and errors[0] / errors[1] == pytest.approx(10, rel=0.1)


def test_critical_gap__is_the_leading_order():
    # The next order is log t / t relative to it.
    for t, bound in ((1e3, 0.05), (1e6, 1e-4)):
        p = mode_trajectory(t, 2.0, X, C, CRITICAL, 0.7)
        assert (p - X / (2 * C)) / critical_gap(t, X, 0.7) == pytest.approx(1, abs=bound)
    assert mode_trajectory(1e6, 0.95 * X / (2 * C), X, C, CRITICAL, 0.7) < 1e-12  # from below: dies


# --- trajectories -----------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0, 1e-6, 0.3, 0.999, 1, 1.001, 4])
@pytest.mark.parametrize("p0", [0.004, 0.2, 0.35, 0.5, 0.9, 8.0])
def test_mode_trajectory__agrees_with_an_integrator(share, p0):
    eta = share * CRITICAL
    for t in (0.03, 2.0, 40.0):
        exact = mode_trajectory(t, p0, X, C, eta, 0.8)
        # The integrator's error, 3e-14 a step in log p, times at most 100 steps and e^3 growth.
        assert exact == pytest.approx(_integrated(t, p0, X, C, eta, 0.8), rel=1e-10)


@given(VARIANCES, st.floats(0, 3), st.floats(-3, 1.5), st.floats(0.01, 30))
def test_mode_trajectory__inverts_the_time(variances, share, place, t):
    x, c = variances
    eta, p0 = share * x**2 / (4 * c), 10**place * x / c
    t = t * c / x**2
    p = float(mode_trajectory(t, p0, x, c, eta, 0.5))
    points = np.array([*mode_fixed_points(x, c, eta), p0])
    still = np.any(np.abs(p - points) < 1e-4 * p)
    if not still and p > 1e-290:  # next to a fixed point the time is too sensitive to p
        assert mode_time(p, p0, x, c, eta, 0.5) == pytest.approx(t, rel=1e-9)


def test_mode_trajectory__keeps_the_distance_to_the_fixed_point_it_nears():
    # Both ways of approach: the distance falls at the linear rate, down to the rounding of p.
    eta = 0.5 * CRITICAL
    upper = mode_fixed_points(X, C, eta).upper
    rate = relaxation_rates(X, C, eta, 1.0).upper
    for p0 in (0.9 * upper, 1.1 * upper):
        early, late = mode_trajectory(np.array([0.6, 0.9]) * 25 / -rate, p0, X, C, eta, 1.0)
        fall = np.log((late - upper) / (early - upper))
        # Distances near 1e-8 and 1e-11 of p with a rounding of 1e-16.
        assert fall == pytest.approx(0.3 * -25, abs=1e-4)


@pytest.mark.parametrize("p0", [1e-8, 0.1, 0.6, 0.62, 1.5])
def test_mode_trajectory__is_lamberts_function_without_weight_decay(p0):
    for t in (0.0, 0.5, 5.0):
        u = X / (C * p0) - 1
        with mpmath.workdps(40):
            v = mpmath.mpf(u) * mpmath.exp(mpmath.mpf(u) - 2 * 0.8 * mpmath.mpf(X) ** 2 * t / C)
            w = mpmath.lambertw(v).real
        exact = float(X / (C * (1 + w)))
        assert mode_trajectory(t, p0, X, C, 0.0, 0.8) == pytest.approx(exact, rel=1e-11)


def test_mode_trajectory__moves_by_one_clock_for_all_powers():
    t, eta = np.linspace(0, 9, 7), 0.7 * CRITICAL
    slow = mode_trajectory(t, 0.4, X, C, eta, 0.5)
    np.testing.assert_allclose(mode_trajectory(t / 4, 0.4, X, C, eta, 2.0), slow, rtol=1e-12)


def test_mode_trajectory__composes():
    for eta in (0.0, 0.5 * CRITICAL, CRITICAL, 2 * CRITICAL):
        for p0 in (0.05, 0.4, 3.0):
            half = mode_trajectory(1.7, p0, X, C, eta, 1.0)
            twice = mode_trajectory(1.7, half, X, C, eta, 1.0)
            assert twice == pytest.approx(mode_trajectory(3.4, p0, X, C, eta, 1.0), rel=1e-11)


def test_mode_trajectory__stays_at_fixed_points_and_ends_at_them():
    eta = 0.5 * CRITICAL
    lower, upper = mode_fixed_points(X, C, eta)
    for point in (0.0, lower, upper):
        assert mode_trajectory(100.0, point, X, C, eta, 1.0) == point
    ends = mode_trajectory(1e9, [0.99 * lower, 1.01 * lower, 5.0], X, C, eta, 1.0)
    np.testing.assert_allclose(ends, [0, upper, upper], rtol=1e-14)
    assert mode_trajectory(1e9, 1e-5, X, C, 0.0, 1.0) == pytest.approx(X / C)


def test_weight_trajectory__keeps_signs_and_broadcasts():
    s = weight_trajectory([[0.0], [3.0]], [-0.9, 0.0, 0.9], X, C, 0.05, 1.0)
    np.testing.assert_allclose(s[0], [-0.9, 0, 0.9], rtol=1e-14)
    np.testing.assert_array_equal(s[1, ::-1], -s[1])


# --- errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fixed_points(0.0, 1.0, 0.1), "alpha must be above 0"),
        (lambda: fixed_points(1.0, -0.1, 0.1), "sigma2 must be at least 0"),
        (lambda: fixed_points(1.0, 0.1, -0.1), "weight_decay must be at least 0"),
        (lambda: fixed_points(1.0, 0.1, float("nan")), "weight_decay must be finite"),
        (lambda: critical_weight_decay(-1.0), "sigma2 must be at least 0"),
        (lambda: mode_fixed_points(1.0, 0.9, 0.1), "c must be at least x"),
        (lambda: mode_fixed_points(-1.0, 0.9, 0.1), "x must be above 0"),
        (lambda: relaxation_rates(1, 1, 0.1, -1), "alpha must be above 0"),
        (lambda: basin_boundary(1, 1, 0.1, 1, correlation="raw"), "correlation must be one of"),
        (lambda: mode_time(0.0, 1.0, 1, 1, 0.1, 1), "p must be above 0"),
        (lambda: mode_time(1.0, -1.0, 1, 1, 0.1, 1), "p0 must be above 0"),
        (lambda: ghost_time(1, 1, 0.25, 1), "must be above the threshold"),
        (lambda: critical_gap(0, 1, 1), "t must be above 0"),
        (lambda: mode_trajectory(-1.0, 1.0, 1, 1, 0.1, 1), "t must be at least 0"),
        (lambda: mode_trajectory(1.0, -1.0, 1, 1, 0.1, 1), "p0 must be at least 0"),
    ],
)
def test_modes__errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_modes__refuse_other_types():
    with pytest.raises(TypeError, match="sigma2 must hold real numbers"):
        critical_weight_decay("1")
    with pytest.raises(TypeError, match="correlation must be a string"):
        basin_boundary(1, 1, 0.1, 1, correlation=1)

"""Tests of sources, distances, landscapes and nonlinear counterexamples."""

import itertools
import math

import numpy as np
import pytest
import sympy as sp
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import integrate
from scipy import stats as laws

from vcreg_theory import ica, models, seeding

SYMMETRIC = [
    ica.gaussian(),
    ica.uniform(),
    ica.laplace(),
    ica.logistic(),
    ica.hyperbolic_secant(),
    ica.generalized_gaussian(4),
    ica.generalized_gaussian(0.7),
    ica.triangular(),
    ica.arcsine(),
    ica.sparse(0.3),
    ica.levels(2),
    ica.levels(5),
    ica.three_point(),
    ica.bimodal(),
]
SKEWED = [ica.gamma(1), ica.gamma(3), ica.gumbel(), ica.gaussian_mixture([0, 3], [1, 0.5], [2, 1])]
ALL = [*SYMMETRIC, *SKEWED, ica.student_t(9)]
DENSITIES = {  # unit variance, zero mean
    "logistic": (ica.logistic(), laws.logistic(scale=math.sqrt(3) / math.pi)),
    "secant": (ica.hyperbolic_secant(), laws.hypsecant(scale=2 / math.pi)),
    "t5": (ica.student_t(5), laws.t(5, scale=math.sqrt(3 / 5))),
    "power 4": (ica.generalized_gaussian(4), None),
    "gamma 5": (ica.gamma(5), laws.gamma(5, loc=-math.sqrt(5), scale=1 / math.sqrt(5))),
    "gumbel": (
        ica.gumbel(),
        laws.gumbel_r(-np.euler_gamma * math.sqrt(6) / math.pi, math.sqrt(6) / math.pi),
    ),
}


@pytest.mark.parametrize("source", ALL, ids=lambda s: s.name)
def test_source__has_its_moments(source):
    n = 200_000
    x = source.sample(n, seeding.numpy_generator(0, source.name))
    assert x.shape == (n,) and x.dtype == np.float64
    for power, expected in ((1, 0.0), (2, 1.0), (4, source.kurtosis + 3)):
        values = x**power
        error = 5 * values.std() / math.sqrt(n) + 1e-9  # discrete laws may have none
        assert abs(values.mean() - expected) < error, power


@pytest.mark.parametrize("name", DENSITIES)
def test_source__information_is_the_integral(name):
    source, law = DENSITIES[name]
    if law is None:
        scale = math.sqrt(math.gamma(1 / 4) / math.gamma(3 / 4))
        law = laws.gennorm(4, scale=scale)

    def integrand(x):
        h = 1e-5
        return law.pdf(x) * ((law.logpdf(x + h) - law.logpdf(x - h)) / (2 * h)) ** 2

    low, high = law.support()
    low, high = max(low + 1e-4, -40), min(high, 40)
    found = integrate.quad(integrand, low, high, limit=400)[0]
    # Differences of 1e-5 and the cut at the end of the gamma density, where it is below 1e-12.
    assert source.information == pytest.approx(found, rel=1e-4)


def test_gaussian_mixture__information_is_the_integral():
    source = ica.gaussian_mixture([-1, 2], [0.5, 1.5], [1, 2])

    def density(x):
        m, s = np.array([-2, 1]), np.array([0.5, 1.5])
        parts = np.array([1, 2]) / 3 * laws.norm.pdf(x, m, s)
        return parts.sum(), (parts * (x - m) / s**2).sum()

    variance = (1 * (4 + 0.25) + 2 * (1 + 2.25)) / 3
    total = integrate.quad(lambda x: density(x)[1] ** 2 / density(x)[0], -9, 14, limit=300)[0]
    assert source.information == pytest.approx(total * variance, rel=1e-8)
    assert ica.gaussian_mixture([5], [2], [1]).information == pytest.approx(1, rel=1e-10)


def test_gaussian_mixture__information_of_narrow_components():
    # Far apart in units of their deviations, components have the mean of 1 / s^2. A wide one takes
    # away where it shares the place of a narrow one: a share of at most its mass there, for 6 s
    # around, times (x / s)^2, over the narrow one's weight, 144 s (0.4) (3 / 4) / (1 / 4) = 173 s.
    for s in (1e-4, 1e-6, 1e-8):
        found = ica.gaussian_mixture([-1, 1], [s, s], [1, 1]).information
        assert found == pytest.approx((1 + s**2) / s**2, rel=1e-7)
        needle = ica.gaussian_mixture([0, 0.3], [s, 1], [1, 3])
        expected = (1 / 4 / s**2 + 3 / 4) * (1 / 4 * s**2 + 3 / 4 + 3 / 16 * 0.3**2)
        assert needle.information == pytest.approx(expected, rel=173 * s)
    with pytest.raises(ValueError, match="deviations must be at least"):
        ica.gaussian_mixture([-1, 1], [1e-11, 1], [1, 1])


def test_gaussian_mixture__information_does_not_depend_on_units():
    a = ica.gaussian_mixture([-1, 2], [0.5, 1.5], [1, 2]).information
    assert ica.gaussian_mixture([-1e6, 2e6], [5e5, 1.5e6], [1, 2]).information == pytest.approx(
        a, rel=1e-12
    )


def test_source__closed_forms():
    assert ica.laplace().information == 2
    assert ica.generalized_gaussian(1).information == pytest.approx(2)
    assert ica.generalized_gaussian(2).kurtosis == pytest.approx(0, abs=1e-12)
    assert ica.generalized_gaussian(2).information == pytest.approx(1)
    assert ica.student_t(5).information == 1.25 and ica.student_t(4).kurtosis == math.inf
    assert ica.gamma(2).information == math.inf == ica.generalized_gaussian(0.5).information
    assert ica.levels(2).kurtosis == -2 and ica.three_point().kurtosis == 0
    assert ica.bimodal(2.0).kurtosis == pytest.approx(-2 * (4 / 5) ** 2)


def test_source__rejects_bad_input():
    rng = np.random.default_rng(0)
    for make, message in (
        (lambda: ica.student_t(2), "df must be above 2"),
        (lambda: ica.generalized_gaussian(0), "power must be positive"),
        (lambda: ica.gamma(-1), "shape must be positive"),
        (lambda: ica.sparse(1), "active must lie strictly"),
        (lambda: ica.levels(1), "count must be at least 2"),
        (lambda: ica.gaussian_mixture([0, 1], [1], [1, 1]), "one length"),
        (lambda: ica.gaussian_mixture([0], [0], [1]), "deviations must be finite and positive"),
        (lambda: ica.uniform().sample(0, rng), "n must be at least 1"),
        (lambda: ica.mixing_matrix(0, rng), "d must be at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
    with pytest.raises(TypeError, match="sources must be one or more Source"):
        ica.sample_sources([], 5, rng)


def _permutation(rng, d):
    return np.eye(d)[rng.permutation(d)] * rng.choice([-3.0, 0.2, 1.0], d)


@given(seed=st.integers(0, 2**32 - 1), d=st.integers(1, 6))
def test_amari__is_zero_at_scaled_signed_permutations_only(seed, d):
    rng = np.random.default_rng(seed)
    w, swap = rng.standard_normal((d, d)), _permutation(rng, d)
    a = np.linalg.inv(w) @ swap
    # The inverse leaves errors of eps times the condition number, and of its square.
    noise = 1e-14 * np.linalg.cond(w) * 100
    assert ica.amari_index(w, a) <= noise
    assert ica.amari_distance(w, a) <= noise
    if d > 1:
        mixed = swap + 0.1 * np.abs(swap).max() * np.ones((d, d))
        assert ica.amari_index(np.eye(d), mixed) > 1e-3 / d < ica.amari_distance(np.eye(d), mixed)


@given(arrays(np.float64, (3, 3), elements=st.floats(0.1, 9)), st.integers(0, 2**32 - 1))
def test_amari__is_invariant(p, seed):
    rng = np.random.default_rng(seed)
    for distance, largest in ((ica.amari_distance, 2.0), (ica.amari_index, 1.0)):
        value = distance(p, np.eye(3))
        assert 0 <= value <= largest + 1e-12
        swapped = distance(p[:, rng.permutation(3)][rng.permutation(3)], np.eye(3))
        assert swapped == pytest.approx(value, abs=1e-12)
        assert distance(-2 * p, np.eye(3)) == pytest.approx(value, abs=1e-12)
        assert distance(torch.from_numpy(p), torch.eye(3)) == pytest.approx(value, abs=1e-12)


def test_amari__chance_is_the_mean_over_rotations():
    angles = (np.arange(4000) + 0.5) * math.pi / 4 / 4000  # midpoint rule: error of 1e-8
    turns = [np.array([[math.cos(t), math.sin(t)], [-math.sin(t), math.cos(t)]]) for t in angles]
    index = np.mean([ica.amari_index(turn, np.eye(2)) for turn in turns])
    squares = np.mean([ica.amari_distance(turn, np.eye(2)) for turn in turns])
    assert index == pytest.approx(ica.chance_amari_index(), abs=1e-7)
    assert squares == pytest.approx(ica.chance_amari_distance(), abs=1e-7)


def test_amari__rejects_bad_input():
    eye = np.eye(2)
    for w, a, message in (
        (np.ones((2, 3)), eye, "W and A must have shapes"),
        (eye * np.nan, eye, "W must be finite"),
        (eye, [["a", "b"]], "A must be a matrix"),
        (eye, np.diag([1.0, 0.0]), "row or column of zeros"),
    ):
        for distance in (ica.amari_distance, ica.amari_index):
            with pytest.raises(ValueError, match=message):
                distance(w, a)


def test_match_sources__undoes_order_sign_and_scale():
    rng = seeding.numpy_generator(0, "match")
    s = rng.standard_normal((50, 4))
    order, signs = np.array([2, 0, 3, 1]), np.array([-1.0, 1, 1, -1])
    y = np.column_stack([rng.standard_normal(50), 3 * (s * signs)[:, order] + 1])
    match = ica.match_sources(y, s)
    np.testing.assert_array_equal(match.order, np.argsort(order) + 1)
    np.testing.assert_array_equal(match.signs, signs)
    np.testing.assert_allclose(match.correlations, 1)
    assert ica.mean_correlation_coefficient(y, s) == pytest.approx(1)
    best = max(
        np.mean([abs(np.corrcoef(y[:, p[j]], s[:, j])[0, 1]) for j in range(4)])
        for p in itertools.permutations(range(5), 4)
    )
    assert ica.mean_correlation_coefficient(y, s) == pytest.approx(best)
    for bad, message in ((y[:, :3], "at least as many columns"), (0 * y, "no constant column")):
        with pytest.raises(ValueError, match=message):
            ica.match_sources(bad, s)


def _rotation(d, stream):
    q = np.linalg.qr(seeding.numpy_generator(0, stream).standard_normal((d, d)))[0]
    return torch.from_numpy(q)


def test_cross_moments__are_the_moments():
    # Finite laws, so that moments are exact sums: two values each, with kurtosis of both signs.
    points, weights = [], []
    for p in (0.1, 0.5, 0.3):
        points.append([-math.sqrt(p / (1 - p)), math.sqrt((1 - p) / p)])
        weights.append([1 - p, p])
    grid = torch.tensor(list(itertools.product(*points)), dtype=torch.float64)
    mass = torch.tensor([math.prod(w) for w in itertools.product(*weights)], dtype=torch.float64)
    kurtosis = torch.tensor(
        [
            sum(w * x**4 for x, w in zip(*v, strict=True)) - 3
            for v in zip(points, weights, strict=True)
        ],
        dtype=torch.float64,
    )
    q = _rotation(3, "moments")
    y = grid @ q.T
    found = ica.cross_moments(q, kurtosis)
    off = 1 - torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(found.cubic, off * ((y**3 * mass[:, None]).T @ y))
    torch.testing.assert_close(found.square, off * ((y**2 * mass[:, None]).T @ y**2 - 1))


def test_cross_moments__two_dimensional_landscape():
    theta, k1, k2 = sp.symbols("theta kappa_1 kappa_2", real=True)
    c, s = sp.cos(theta), sp.sin(theta)
    q = sp.Matrix([[c, s], [-s, c]])
    k = (k1, k2)
    cubic = [sum(k[i] * q[a, i] ** 3 * q[1 - a, i] for i in range(2)) for a in range(2)]
    square = sum(k[i] * q[0, i] ** 2 * q[1, i] ** 2 for i in range(2))
    w = c**2 * s**2
    closed = w * (k1**2 + k2**2 - (k1 + k2) ** 2 * w)
    assert sp.simplify(cubic[0] ** 2 + cubic[1] ** 2 + square**2 - closed) == 0
    for angle in (0.3, 1.1):
        turn = torch.tensor(q.subs(theta, angle).tolist(), dtype=torch.float64)
        loss = ica.cross_moments(turn, torch.tensor([3.0, -1.2], dtype=torch.float64)).loss
        assert loss.item() == pytest.approx(float(closed.subs({theta: angle, k1: 3, k2: -1.2})))


def test_cross_moments__blind_pair():
    blind = ica.cross_moments(_rotation(2, "blind"), torch.zeros(2, dtype=torch.float64))
    assert blind.loss == 0


def test_cross_moments__four_sources_have_minima_above_zero():
    kurtosis = torch.tensor([-1.2, 3.0, -1.2, 3.0], dtype=torch.float64)
    upper = torch.triu_indices(4, 4, 1).unbind()
    stuck = 0
    for k in range(12):
        start = _rotation(4, f"start {k}")

        def loss(angles, start=start):
            skew = torch.zeros(4, 4, dtype=torch.float64).index_put(upper, angles)
            return ica.cross_moments(torch.linalg.matrix_exp(skew - skew.T) @ start, kurtosis).loss

        angles = torch.zeros(6, dtype=torch.float64, requires_grad=True)
        options = {"max_iter": 300, "tolerance_change": 1e-15, "tolerance_grad": 1e-10}
        optimiser = torch.optim.LBFGS([angles], line_search_fn="strong_wolfe", **options)

        def closure(optimiser=optimiser, loss=loss, angles=angles):
            optimiser.zero_grad()
            value = loss(angles)
            value.backward()
            return value

        optimiser.step(closure)
        if closure().item() > 1 and angles.grad.abs().max() < 1e-6:
            hessian = torch.autograd.functional.hessian(loss, angles.detach())
            stuck += bool(torch.linalg.eigvalsh(hessian)[0] > 0.1)
    assert stuck  # about half of all starts are: none of 12 has probability below 1e-3


def test_cross_moments__rejects_bad_input():
    kurtosis = torch.ones(2, dtype=torch.float64)
    with pytest.raises(ValueError, match="orthogonal"):
        ica.cross_moments(torch.ones(2, 2, dtype=torch.float64), kurtosis)
    with pytest.raises(ValueError, match="rotation must have shape"):
        ica.cross_moments(torch.eye(3, dtype=torch.float64), kurtosis)


def test_rotation_losses__batch_bias_is_exact():
    # Two points a source: the expectation over all batches of 3 is a finite sum.
    points = torch.tensor([-1.0, 1.0], dtype=torch.float64)
    weights = torch.tensor([0.5, 0.5], dtype=torch.float64)

    def project(y):
        return torch.cat([y[:, :1], (y[:, :1] + 0.3).tanh(), y[:, 1:] ** 2, y[:, 1:].exp()], 1)

    angle = torch.tensor([0.4], dtype=torch.float64)
    found = ica.rotation_losses(project, points, weights, angle, batch_size=3)
    c, s = math.cos(0.4), math.sin(0.4)
    pairs = torch.cartesian_prod(points, points) @ torch.tensor(
        [[c, -s], [s, c]], dtype=torch.float64
    )
    cross, full = [], []
    for batch in itertools.product(range(4), repeat=3):
        square = torch.cov(project(pairs[list(batch)]).T).square()
        cross.append(square[:2, 2:].sum())
        full.append(square.sum() - square.diagonal().sum())
    assert found.cross.item() == pytest.approx(torch.stack(cross).mean().item(), rel=1e-12)
    assert found.full.item() == pytest.approx(torch.stack(full).mean().item(), rel=1e-12)


def test_rotation_losses__self_terms_and_small_batches_move_the_minimum():
    points, weights = ica.uniform_rule(24)
    angles = torch.linspace(0, math.pi / 4, 7, dtype=torch.float64)
    best = {"cross": [], "full": [], "batch": []}
    for seed in range(9):
        net = models.elementwise_projector(2, 32, seed=seed, activation="tanh", dtype=torch.float64)
        exact = ica.rotation_losses(net, points, weights, angles)
        small = ica.rotation_losses(net, points, weights, angles, batch_size=16)
        for name, losses in zip(best, (exact.cross, exact.full, small.cross), strict=True):
            best[name].append(math.degrees(angles[losses.argmin()]))
    medians = {name: np.median(values) for name, values in best.items()}
    assert medians == {"cross": 0.0, "full": 45.0, "batch": 45.0}


def test_rotation_losses__rejects_bad_input():
    points, weights = ica.uniform_rule(4)
    angles = torch.zeros(1, dtype=torch.float64)
    with pytest.raises(ValueError, match="weights must be a law"):
        ica.rotation_losses(torch.square, points, 2 * weights, angles)
    with pytest.raises(ValueError, match="batch_size must be at least 2"):
        ica.rotation_losses(torch.square, points, weights, angles, batch_size=1)
    for odd in (lambda y: torch.cat([y, y[:, :1]], 1), lambda y: y[:, :0], lambda y: y[1:]):
        with pytest.raises(ValueError, match="as many features of each of the two outputs"):
            ica.rotation_losses(odd, points, weights, angles)


def test_darmois_outputs__are_independent_uniform_and_mixed():
    # Exact correlations, by integration over the triangle s_1 + s_2 < 1 and its mirror image.
    a, b = sp.symbols("a b", positive=True)
    first = (a + b) ** 2 / 2
    second = a / (a + b)  # (x_2 + r) / (2 r) with r = a + b

    def lower(f):
        return sp.integrate(sp.integrate(f, (b, 0, 1 - a)), (a, 0, 1))

    # The mirror image takes s to 1 - s and y_1 to 1 - y_1, so centred products are the same.
    half = sp.Rational(1, 2)
    correlation = 2 * lower(sp.expand((first - half) * (a - half))) * 12
    assert sp.simplify(correlation - sp.Rational(7, 10)) == 0
    cross = (
        2 * lower(sp.simplify((second - half) * (a - b))) * 6
    )  # corr(y_2, s_1) = -corr(y_2, s_2)
    assert sp.simplify(cross - sp.Rational(2, 3)) == 0
    n = 40_000
    s = seeding.numpy_generator(0, "darmois").uniform(size=(n, 2))
    y = ica.darmois_outputs(ica.triangle_mixture(s))
    mcc = ica.mean_correlation_coefficient(y, s)
    assert mcc == pytest.approx(ica.DARMOIS_CORRELATION, abs=5 / math.sqrt(n))
    assert laws.kstest(y[:, 0], "uniform").pvalue > 1e-4 < laws.kstest(y[:, 1], "uniform").pvalue
    counts = np.histogram2d(*y.T, bins=8, range=[[0, 1]] * 2)[0]
    assert laws.chi2_contingency(counts).pvalue > 1e-4
    assert (ica.darmois_outputs([[0.0, 0.0], [2.0, 0.0]]) == [[0, 0.5], [1, 0.5]]).all()


def test_swirl__preserves_independence_and_not_the_sources():
    s = seeding.numpy_generator(0, "swirl").uniform(size=(20_000, 2))
    y = ica.swirl(s, 1.0)
    counts = np.histogram2d(*y.T, bins=8, range=[[0, 1]] * 2)[0]
    # The joint law is uniform on the square, not only the margins.
    assert laws.chisquare(counts.ravel()).pvalue > 1e-4
    assert ica.mean_correlation_coefficient(y, s) < 0.5
    np.testing.assert_allclose(ica.swirl(s[:9], 0.0), s[:9], atol=1e-12)


def test_signed_power__cannot_be_undone_by_a_line():
    s = ica.sample_sources([ica.uniform()] * 2, 3000, seeding.numpy_generator(0, "power"))
    mixed = s @ np.array([[1.0, 0.6], [-0.5, 1.0]])
    np.testing.assert_allclose(ica.signed_power(ica.signed_power(mixed, 2.5), 0.4), mixed)
    best = np.linalg.lstsq(ica.signed_power(mixed, 2.5), s, rcond=None)
    explained = 1 - best[1] / (s**2).sum(0)
    assert (explained < 0.95).all()  # the best possible lines, with the sources known


def test_nonlinear__rejects_bad_input():
    for call, message in (
        (lambda: ica.triangle_mixture([[0.5, 1.5]]), r"sources must lie in \[0, 1\]"),
        (lambda: ica.triangle_mixture([0.5]), "shape"),
        (lambda: ica.darmois_outputs([[0.5, 0.9]]), "sums and differences"),
        (lambda: ica.swirl([[0.0, 0.5]], 1.0), "strictly between"),
        (lambda: ica.signed_power([[np.inf]], 2.0), "finite"),
        (lambda: ica.signed_power([[1.0]], 0.0), "power must be positive"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_generalized_gaussian__of_a_large_power_is_nearly_uniform():
    drawn = ica.generalized_gaussian(1e4).draw(np.random.default_rng(0), 20_000)
    assert (drawn != 0).all()
    assert np.abs(drawn).max() == pytest.approx(3**0.5, rel=2e-3)
    assert drawn.std() == pytest.approx(1.0, abs=0.02)

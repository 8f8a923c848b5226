"""Tests of the variational bound: closed forms, Gaussian and discrete laws, gradients, errors."""

import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import mutual_info_score

from vcreg_theory import seeding
from vcreg_theory.information import (
    GaussianViews,
    barber_agakov_bound,
    correlation_information,
    decoder_variance,
    discrete_decoder_bound,
    discrete_mutual_information,
    expected_squared_distance,
    gaussian_entropy,
    gaussian_log_density,
    gaussian_mutual_information,
    isotropic_bound,
    jensen_bound,
    linear_decoder_bound,
    optimal_scale,
    optimal_variance,
)
from vcreg_theory.losses import vicreg_logdet_loss, vicreg_loss

EPS = np.finfo(np.float64).eps
# A few dozen operations on numbers of order one, and of order ten at most.
ROUNDING = 1e-13
POSITIVE = st.floats(0.05, 20.0)


@pytest.fixture
def rng() -> np.random.Generator:
    return seeding.numpy_generator(0, "information")


def _covariance(rng, d, scale=True):
    """A covariance of d coordinates in different units."""
    root = rng.standard_normal((d, d + 2))
    units = 10.0 ** rng.uniform(-2, 2, d) if scale else np.ones(d)
    return torch.tensor(units[:, None] * (root @ root.T) * units)


def _table(rng, n, m):
    return torch.tensor(rng.dirichlet(np.ones(n * m)).reshape(n, m))


def _decoder(rng, n, m):
    return torch.tensor(rng.dirichlet(np.ones(n), size=m).T.copy())


# --- Gaussian information ---------------------------------------------------------------------


@pytest.mark.parametrize("rho", [0.0, 1e-10, -0.3, 0.8, 1 - 1e-12])
@mpmath.workdps(60)
def test_gaussian_information__of_one_correlation(rho):
    exact = float(-mpmath.log(1 - mpmath.mpf(rho) ** 2) / 2)
    joint = torch.tensor([[4.0, 2 * rho], [2 * rho, 1.0]], dtype=torch.float64)
    rounding = 8 * EPS / (1 - abs(rho))  # the condition number of the logarithm
    for found in (
        gaussian_mutual_information(joint, 1),
        correlation_information(torch.tensor(rho, dtype=torch.float64)),
    ):
        assert abs(float(found) - exact) <= rounding * max(exact, 1e-20)


def test_gaussian_information__is_the_difference_of_entropies(rng):
    for _ in range(50):
        d, m = rng.integers(1, 6, 2)
        joint = _covariance(rng, d + m)
        parts = gaussian_entropy(joint[:d, :d]) + gaussian_entropy(joint[d:, d:])
        found = gaussian_mutual_information(joint, int(d))
        # A log-determinant of a matrix of condition up to 1e4 or so, beyond units.
        assert abs(float(found - parts + gaussian_entropy(joint))) < 1e-10


def test_gaussian_information__invariant_under_linear_maps_of_a_part(rng):
    for _ in range(50):
        joint = _covariance(rng, 5, scale=False)
        turn = torch.zeros(5, 5, dtype=torch.float64)
        turn[:2, :2], turn[2:, 2:] = (torch.tensor(rng.standard_normal((k, k))) for k in (2, 3))
        one, other = joint, turn @ joint @ turn.T
        conditions = float(torch.linalg.cond(one) + torch.linalg.cond(other))
        found = [float(gaussian_mutual_information(m, 2)) for m in (one, other)]
        assert abs(found[0] - found[1]) <= 100 * EPS * conditions * (1 + found[0])


def test_gaussian_information__data_processing_and_chain(rng):
    for _ in range(200):
        joint = _covariance(rng, 6)
        whole = float(gaussian_mutual_information(joint, 3))
        kept = [0, 1, 3, 4, 5]  # drop a coordinate of the first part
        part = float(gaussian_mutual_information(joint[kept][:, kept], 2))
        assert 0 <= part <= whole + 1e-12


def test_gaussian_information__small_one_keeps_its_digits():
    joint = torch.eye(4, dtype=torch.float64)
    joint[0, 2] = joint[2, 0] = 1e-10
    found = float(gaussian_mutual_information(joint, 2))
    assert found == pytest.approx(5e-21, rel=1e-12)
    naive = -float(torch.logdet(joint)) / 2  # control: the difference of log-determinants
    assert naive == 0


def test_gaussian_entropy__is_scipys(rng):
    for d in (1, 3, 8):
        cov = _covariance(rng, d)
        exact = stats.multivariate_normal(cov=cov.numpy(), allow_singular=True).entropy()
        assert float(gaussian_entropy(cov)) == pytest.approx(exact, abs=1e-10)


# --- the bound and its gap --------------------------------------------------------------------


@given(POSITIVE, POSITIVE, st.integers(1, 20))
def test_gaussian_views__information_is_bound_plus_gap(signal, noise, dim):
    views = GaussianViews(signal, noise, dim)
    size = dim + abs(views.bound)
    assert abs(views.information - views.bound - views.gap) <= 32 * EPS * size
    assert 0 < views.gap < dim / 2 * math.log(2)


def test_gaussian_views__closed_forms_at_one_half():
    views = GaussianViews(1.0, 0.5)
    assert views.information == pytest.approx(-0.5 * math.log(1 - 0.64), abs=1e-15)
    assert views.bound == pytest.approx(0.5 * math.log(2.5), abs=1e-15)
    assert views.gap == pytest.approx(0.5 * math.log(2.5 / 2.25), abs=1e-15)
    assert views.optimal_scale == pytest.approx(math.sqrt(2), abs=1e-15)


@pytest.mark.parametrize("scale", [0.3, 1.0, 7.0])
@pytest.mark.parametrize("dim", [1, 3])
def test_gaussian_views__agree_with_the_matrix_functions(scale, dim):
    views = GaussianViews(0.8, 0.3, dim)
    joint, eye = views.covariance(scale), torch.eye(dim, dtype=torch.float64)
    information = float(gaussian_mutual_information(joint, dim))
    assert information == pytest.approx(views.information, abs=ROUNDING)
    centred = linear_decoder_bound(joint, dim, eye)
    assert float(centred.bound) == pytest.approx(views.bound, abs=ROUNDING)
    assert float(centred.gap) == pytest.approx(views.gap, abs=ROUNDING)
    spread = scale**2 * views.variance * (1 - views.correlation**2)
    shrunk = linear_decoder_bound(joint, dim, views.correlation * eye, spread * eye)
    assert float(shrunk.bound) == pytest.approx(views.information, abs=ROUNDING)
    assert float(shrunk.gap) == pytest.approx(0, abs=ROUNDING)
    assert views.entropy(scale) == pytest.approx(
        float(gaussian_entropy(joint[:dim, :dim])), abs=ROUNDING
    )


def test_linear_decoder__thousand_random_decoders_bound_the_information(rng):
    for _ in range(500):
        d, m = (int(k) for k in rng.integers(1, 4, 2))
        joint = _covariance(rng, d + m, scale=False)
        slope = torch.tensor(rng.standard_normal((d, m)))
        noise = _covariance(rng, d, scale=False)
        information = float(gaussian_mutual_information(joint, d))
        condition = float(torch.linalg.cond(joint) * torch.linalg.cond(noise))
        for found in (
            linear_decoder_bound(joint, d, slope, noise),
            linear_decoder_bound(joint, d, slope),
        ):
            size = 1 + information + abs(float(found.bound))
            assert abs(information - float(found.bound + found.gap)) <= 200 * EPS * condition * size
            assert float(found.gap) > 0
        best = linear_decoder_bound(joint, d)
        assert abs(float(best.gap)) <= 200 * EPS * condition


def test_linear_decoder__against_simulation(rng):
    joint = _covariance(rng, 3, scale=False)
    slope, noise = torch.tensor([[0.5], [-0.2]]).double(), torch.eye(2, dtype=torch.float64)
    found = linear_decoder_bound(joint, 2, slope, noise)
    draws = torch.tensor(rng.multivariate_normal(np.zeros(3), joint.numpy(), size=40_000))
    z, other = draws[:, :2], draws[:, 2:]
    log_q = gaussian_log_density(z, other @ slope.T, noise)
    estimate = barber_agakov_bound(gaussian_entropy(joint[:2, :2]), log_q)
    error = float(log_q.std()) / math.sqrt(len(log_q))
    # 4 standard errors: probability below 1e-4 for a fresh seed.
    assert abs(float(estimate - found.bound)) < 4 * error


def test_barber_agakov__exact_decoder_attains_the_information_by_quadrature():
    views = GaussianViews(1.0, 0.5)
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    z, other = (torch.tensor(m.ravel()) for m in np.meshgrid(nodes, nodes))
    share = torch.tensor(np.outer(weights, weights).ravel() / weights.sum() ** 2)
    factor = torch.linalg.cholesky(views.covariance())
    pairs = torch.stack([z, other], 1) @ factor.T
    spread = views.variance * (1 - views.correlation**2)
    log_q = gaussian_log_density(pairs[:, :1], views.correlation * pairs[:, 1:], spread)
    exact = barber_agakov_bound(views.entropy(), log_q, share)  # log q is quadratic: no error
    assert float(exact) == pytest.approx(views.information, abs=1e-12)
    log_q = gaussian_log_density(pairs[:, :1], pairs[:, 1:], 0.5)
    assert float(barber_agakov_bound(views.entropy(), log_q, share)) == pytest.approx(
        views.bound, abs=1e-12
    )


# --- the isotropic decoder --------------------------------------------------------------------


@given(POSITIVE, st.integers(1, 64), st.floats(-3.0, 3.0).filter(lambda v: abs(v) > 1e-3))
def test_isotropic_bound__largest_at_the_optimal_variance(mean_square, d, step):
    best = float(isotropic_bound(0.3, mean_square, d))
    closed = 0.3 - d / 2 * math.log(2 * math.pi * math.e * mean_square / d)
    assert abs(best - closed) <= 16 * EPS * (d + abs(closed))
    other = float(optimal_variance(mean_square, d)) * math.exp(step)
    # The loss is d/2 (step + exp(-step) - 1), at least d/2 times 4e-7 here.
    loss = d / 2 * (step + math.expm1(-step))
    found = float(isotropic_bound(0.3, mean_square, d, other))
    assert found < best
    assert abs(best - found - loss) <= 64 * EPS * (d + abs(best) + loss)


def test_isotropic_bound__does_not_see_the_scale_of_the_code():
    for scale in (1e-3, 1.0, 1e3):
        entropy = 1.7 + 3 * math.log(scale)
        found = float(isotropic_bound(entropy, 0.4 * scale**2, 3))
        assert found == pytest.approx(float(isotropic_bound(1.7, 0.4, 3)), abs=ROUNDING)


def test_optimal_scale__maximises_the_bound_with_unit_variance():
    views = GaussianViews(1.3, 0.4, dim=5)
    best = float(optimal_scale(2 * 5 * 0.4**2, 5))
    assert best == pytest.approx(views.optimal_scale, rel=1e-15)
    top = views.decoder_bound(best)
    assert top == pytest.approx(views.bound, abs=ROUNDING)
    for factor in (0.01, 0.5, 0.99, 1.01, 2.0, 100.0):
        assert views.decoder_bound(best * factor) < top
        fall = 5 * (math.log(factor) - (factor**2 - 1) / 2)
        size = abs(fall) + 10
        assert abs(views.decoder_bound(best * factor) - top - fall) <= 64 * EPS * size


def test_isotropic_bound__control_without_noise_there_is_no_best_scale():
    with pytest.raises(ValueError, match="mean_square must be positive"):
        optimal_scale(0.0, 2)
    assert float(isotropic_bound(0.0, 1e-300, 1)) > 300  # and the bound grows without limit


# --- the invariance term ----------------------------------------------------------------------


def test_expected_squared_distance__thousand_cases_against_moments(rng):
    for _ in range(1000):
        d = int(rng.integers(1, 4))
        own, other, metric = (_covariance(rng, d, scale=False) for _ in range(3))
        mean = torch.tensor(rng.standard_normal(d))
        inverse = torch.linalg.inv(metric)
        exact = mean @ inverse @ mean + torch.einsum("ij,ji->", inverse, own + other)
        found = expected_squared_distance(mean, own, other, metric)
        assert abs(float(found / exact) - 1) <= 100 * EPS * float(torch.linalg.cond(metric))


def test_expected_squared_distance__control_shared_noise_breaks_it(rng):
    one = torch.eye(1, dtype=torch.float64)
    predicted = float(expected_squared_distance(0.5 * torch.ones(1).double(), one, one))
    noise, fresh = rng.standard_normal((2, 20_000))
    shared = ((0.5 + noise - noise) ** 2).mean()
    independent = (0.5 + noise - fresh) ** 2
    # 4 standard errors: probability below 1e-4 for a fresh seed.
    assert abs(independent.mean() - predicted) < 4 * independent.std() / math.sqrt(20_000)
    assert predicted == 2.25
    assert shared == pytest.approx(0.25)


def test_jensen_bound__holds_and_is_tight_for_a_certain_code():
    # q(z) averages N(z; z', r) over z' ~ N(m, v): a Gaussian of variance r + v.
    for spread in (1e-6, 0.3, 2.0):
        r, offset, own = 0.5, 0.7, 0.2
        exact = -0.5 * (math.log(2 * math.pi * (r + spread)) + (own + offset**2) / (r + spread))
        eye = torch.eye(1, dtype=torch.float64)
        quadratic = expected_squared_distance(
            torch.tensor([offset]).double(), own * eye, spread * eye, r * eye
        )
        bound = float(jensen_bound(math.log(r), quadratic, 1))
        assert bound < exact
        if spread == 1e-6:  # the difference is spread / r to first order, at most
            assert exact - bound < 2 * spread / r


@pytest.mark.parametrize("convention", ["official", "paper"])
def test_decoder_variance__turns_the_loss_into_the_bound(rng, convention):
    za, zb = (torch.tensor(rng.standard_normal((9, 4))) for _ in range(2))
    weight, d = 25.0, 4
    variance = decoder_variance(weight, d, convention=convention)
    terms = vicreg_loss(
        za, zb, invariance=weight, variance=0.0, covariance=0.0, convention=convention
    )
    log_q = gaussian_log_density(za, zb, variance).mean()
    constant = -d / 2 * math.log(2 * math.pi * variance)
    assert float(terms.loss + log_q) == pytest.approx(constant, abs=1e-11)
    half = decoder_variance(weight, d, entropy=0.5, convention=convention)
    assert half == pytest.approx(variance / 2)


def test_decoder_variance__of_the_logdet_loss(rng):
    za, zb = (torch.tensor(rng.standard_normal((30, 3))) for _ in range(2))
    found = vicreg_logdet_loss(za, zb, invariance=2.0, entropy=0.7, eps=0.0)
    variance = decoder_variance(2.0, 3, entropy=0.7)
    entropy = float(found.entropy) + 1.5 * math.log(2 * math.pi * math.e)
    bound = isotropic_bound(entropy, float((za - zb).square().sum(1).mean()), 3, variance)
    constant = 0.7 * 1.5 * (math.log(2 * math.pi * math.e) - math.log(2 * math.pi * variance))
    assert float(found.loss) == pytest.approx(-0.7 * float(bound) + constant, abs=1e-11)


# --- tables -----------------------------------------------------------------------------------


def test_discrete_information__closed_forms():
    eye = torch.eye(5, dtype=torch.float64) / 5
    assert float(discrete_mutual_information(eye)) == pytest.approx(math.log(5), abs=ROUNDING)
    product = torch.outer(torch.tensor([0.2, 0.8]), torch.tensor([0.5, 0.25, 0.25])).double()
    assert 0 <= float(discrete_mutual_information(product)) < 1e-12
    flip = torch.tensor([[0.45, 0.05], [0.05, 0.45]], dtype=torch.float64)
    exact = math.log(2) + 0.9 * math.log(0.9) + 0.1 * math.log(0.1)
    assert float(discrete_mutual_information(flip)) == pytest.approx(exact, abs=ROUNDING)


def test_discrete_information__is_scikit_learns(rng):
    for _ in range(100):
        counts = rng.integers(0, 6, tuple(rng.integers(2, 7, 2)))
        counts[0, 0] += 1
        peer = mutual_info_score(None, None, contingency=counts)
        found = float(discrete_mutual_information(torch.tensor(counts / counts.sum())))
        assert found == pytest.approx(peer, abs=ROUNDING)


def test_discrete_decoder__thousand_random_decoders_gap_is_the_divergence(rng):
    for _ in range(1000):
        n, m = rng.integers(2, 6, 2)
        table, decoder = _table(rng, n, m), _decoder(rng, n, m)
        information = float(discrete_mutual_information(table))
        found = discrete_decoder_bound(table, decoder)
        # Decoders below 1e-20 have a logarithm of 50: the size of the terms.
        size = 1 - float(decoder.log().min())
        assert abs(information - float(found.bound + found.gap)) <= 32 * EPS * size
        assert float(found.gap) > 0
        assert float(found.bound) < information


def test_discrete_decoder__true_posterior_attains_and_zeros_are_allowed(rng):
    table = _table(rng, 4, 3)
    table[1, 2] = 0
    table = table / table.sum()
    found = discrete_decoder_bound(table, table / table.sum(0))
    assert 0 <= float(found.gap) < ROUNDING
    assert float(found.bound) == pytest.approx(
        float(discrete_mutual_information(table)), abs=ROUNDING
    )


def test_discrete_decoder__control_a_decoder_that_is_no_density_exceeds_the_information(rng):
    table = _table(rng, 3, 3)
    with pytest.raises(ValueError, match="columns that sum to 1"):
        discrete_decoder_bound(table, 1.5 * table / table.sum(0))


# --- gradients, dtypes, errors ----------------------------------------------------------------


def test_gradients__of_the_gaussian_functions(rng):
    root = torch.tensor(rng.standard_normal((4, 6)), requires_grad=True)
    slope = torch.tensor(rng.standard_normal((2, 2)), requires_grad=True)

    def decoder(r, s):
        noise = r[:2] @ r[:2].T + torch.eye(2, dtype=r.dtype)
        return tuple(linear_decoder_bound(r @ r.T, 2, s, noise))

    assert torch.autograd.gradcheck(lambda r: gaussian_mutual_information(r @ r.T, 2), root)
    assert torch.autograd.gradcheck(lambda r: gaussian_entropy(r @ r.T), root)
    assert torch.autograd.gradcheck(decoder, (root, slope))
    z = torch.tensor(rng.standard_normal((3, 4)), requires_grad=True)
    centres = torch.tensor(rng.standard_normal((3, 4)), requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda a, b, r: gaussian_log_density(a, b, r @ r.T), (z, centres, root)
    )
    one, two = (torch.tensor(v).double().requires_grad_() for v in (0.7, 1.9))
    assert torch.autograd.gradcheck(
        lambda a, b, v: gaussian_log_density(a, b, v), (z, centres, one)
    )
    assert torch.autograd.gradcheck(lambda h, m: isotropic_bound(h, m, 3), (one, two))
    assert torch.autograd.gradcheck(lambda h, m: isotropic_bound(h, m, 3, h), (one, two))
    mean = torch.tensor(rng.standard_normal(4), requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda m, r: expected_squared_distance(m, r @ r.T, r @ r.T, r @ r.T + torch.eye(4)),
        (mean, root),
    )


@pytest.mark.parametrize("rare", [1e-100, 1e-153, 1e-160, 1e-250, 1e-300])
def test_discrete__rare_entries(rare):
    # A pair that occurs with probability e and tells all: e log(1 / e) + e, to first order in e.
    table = torch.tensor([[1 - rare, 0.0], [0.0, rare]], dtype=torch.float64)
    expected = rare * (1 - math.log(rare))
    assert float(discrete_mutual_information(table)) == pytest.approx(expected, rel=1e-12, abs=0)
    # Two rare values that meet rarely: the product of their marginals underflows.
    table = torch.tensor([[1 - 3 * rare, rare], [rare, rare]], dtype=torch.float64)
    # To first order in e the four entries give e, twice -e log 2, and e log(1 / 4 e).
    expected = rare * (1 - 2 * math.log(2) + math.log(1 / 4 / rare))
    assert float(discrete_mutual_information(table)) == pytest.approx(expected, rel=1e-12, abs=0)
    decoder = torch.tensor([[1.0, 0.5], [rare, 0.5]], dtype=torch.float64)
    table = torch.tensor([[1 - 2 * rare, rare], [0.0, rare]], dtype=torch.float64)
    assert all(value.isfinite() for value in discrete_decoder_bound(table, decoder))


def test_linear_decoder__one_large_coefficient():
    joint = torch.tensor([[1.0, 0.5], [0.5, 1.0]], dtype=torch.float64)
    found = linear_decoder_bound(joint, 1, torch.full((1, 1), 1e8, dtype=torch.float64))
    # The best noise is 1e16 - 1e8 + 1; with it the bound is minus half its logarithm.
    assert float(found.bound) == pytest.approx(-math.log(1e16 - 1e8 + 1) / 2, rel=1e-12)
    assert float(found.bound + found.gap) == pytest.approx(-math.log(0.75) / 2, abs=1e-12)


def test_gradients__of_the_tables(rng):
    logits = torch.tensor(rng.standard_normal((3, 4)), requires_grad=True)
    other = torch.tensor(rng.standard_normal((3, 4)), requires_grad=True)

    def table(x):
        return x.flatten().softmax(0).reshape(x.shape)

    assert torch.autograd.gradcheck(lambda x: discrete_mutual_information(table(x)), logits)
    assert torch.autograd.gradcheck(
        lambda x, y: tuple(discrete_decoder_bound(table(x), y.softmax(0))), (logits, other)
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_dtype__is_kept_and_half_precision_widened(dtype):
    wanted = torch.float32 if dtype == torch.float16 else dtype
    joint = torch.tensor([[1.0, 0.5], [0.5, 1.0]], dtype=dtype)
    z = torch.ones(2, 1, dtype=dtype)
    found = [
        gaussian_mutual_information(joint, 1),
        gaussian_entropy(joint),
        correlation_information(joint[0, 1]),
        linear_decoder_bound(joint, 1).bound,
        gaussian_log_density(z, z, 1.0),
        gaussian_log_density(z, z, torch.eye(1, dtype=dtype)),
        isotropic_bound(1.0, joint[0, 0], 2),
        barber_agakov_bound(1.0, joint[0]),
        discrete_mutual_information(joint.round() / 2),
        expected_squared_distance(joint[0], joint, joint),
    ]
    assert {value.dtype for value in found} == {wanted}
    assert isotropic_bound(1.0, 2.0, 2).dtype == torch.float64
    assert float(found[0]) == pytest.approx(-0.5 * math.log(0.75), abs=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_device__is_kept():
    joint = torch.tensor([[1.0, 0.5], [0.5, 1.0]], device="cuda")
    z = torch.ones(2, 1, device="cuda")
    found = [
        gaussian_mutual_information(joint, 1),
        gaussian_entropy(joint),
        *linear_decoder_bound(joint, 1),
        gaussian_log_density(z, z, 1.0),
        isotropic_bound(1.0, joint[0, 0], 2),
        discrete_mutual_information(joint / 3),
        expected_squared_distance(joint[0], joint, joint, joint),
    ]
    assert {value.device.type for value in found} == {"cuda"}


BAD_TABLE = torch.tensor([[0.5, 0.4], [0.2, 0.1]])
NAN = torch.tensor([[1.0, math.nan], [math.nan, 1.0]])
SINGULAR = torch.ones(2, 2)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: gaussian_mutual_information(SINGULAR, 1), ValueError, "must be positive definite"),
        (lambda: gaussian_mutual_information(-torch.eye(2), 1), ValueError, "positive variances"),
        (lambda: gaussian_mutual_information(NAN, 1), ValueError, "covariance must be finite"),
        (lambda: gaussian_mutual_information(torch.eye(2), 2), ValueError, "split must be below"),
        (
            lambda: gaussian_mutual_information(torch.eye(2), 0),
            ValueError,
            "split must be at least",
        ),
        (lambda: gaussian_mutual_information(torch.ones(2, 3), 1), ValueError, "must have shape"),
        (
            lambda: gaussian_mutual_information(torch.eye(2).tril() + BAD_TABLE, 1),
            ValueError,
            "sym",
        ),
        (lambda: gaussian_mutual_information([[1.0]], 1), TypeError, "must be a torch.Tensor"),
        (lambda: correlation_information(torch.tensor(1.0)), ValueError, "strictly between"),
        (lambda: gaussian_entropy(SINGULAR), ValueError, "must be positive definite"),
        (
            lambda: linear_decoder_bound(torch.eye(3), 2, torch.eye(2)),
            ValueError,
            "coefficients must have shape",
        ),
        (
            lambda: linear_decoder_bound(torch.eye(4), 2, 1e12 * torch.ones(2, 2)),
            ValueError,
            r"coefficients must leave a second moment .* got entries up to 1e\+12",
        ),
        (
            lambda: linear_decoder_bound(
                torch.eye(2), 1, torch.full((1, 1), 1e200, dtype=torch.float64)
            ),
            ValueError,
            "coefficients must leave",
        ),
        (
            lambda: linear_decoder_bound(
                torch.eye(2), 1, torch.full((1, 1), 1e200, dtype=torch.float64), torch.eye(1)
            ),
            ValueError,
            "coefficients must leave",
        ),
        (
            lambda: linear_decoder_bound(torch.eye(3), 2, noise=-torch.eye(2)),
            ValueError,
            "noise must have positive variances",
        ),
        (lambda: discrete_mutual_information(BAD_TABLE), ValueError, "table must sum to 1"),
        (lambda: discrete_mutual_information(BAD_TABLE - 0.3), ValueError, "not be negative"),
        (lambda: discrete_mutual_information(NAN), ValueError, "table must be finite"),
        (lambda: discrete_mutual_information(torch.ones(0, 2)), ValueError, "at least one entry"),
        (
            lambda: discrete_decoder_bound(SINGULAR / 4, torch.eye(2)),
            ValueError,
            "decoder must be positive wherever",
        ),
        (
            lambda: discrete_decoder_bound(SINGULAR / 4, torch.eye(3)),
            ValueError,
            "must have the same shape",
        ),
        (lambda: isotropic_bound(1.0, -1.0, 2), ValueError, "mean_square must be positive"),
        (lambda: isotropic_bound(1.0, 1.0, 2, -0.5), ValueError, "variance must be positive"),
        (lambda: isotropic_bound(math.nan, 1.0, 2), ValueError, "entropy must be finite"),
        (lambda: isotropic_bound(1.0, 1.0, 0), ValueError, "d must be at least 1"),
        (
            lambda: barber_agakov_bound(1.0, torch.tensor([-math.inf])),
            ValueError,
            "log_q must be finite",
        ),
        (
            lambda: barber_agakov_bound(1.0, torch.zeros(2), torch.ones(2)),
            ValueError,
            "weights must not be negative",
        ),
        (
            lambda: gaussian_log_density(torch.zeros(2, 1), torch.zeros(2, 1), -1.0),
            ValueError,
            "covariance must be positive",
        ),
        (
            lambda: gaussian_log_density(torch.zeros(2, 1), torch.zeros(1, 2), 1.0),
            ValueError,
            "must have the same shape",
        ),
        (
            lambda: expected_squared_distance(torch.zeros(2), -torch.eye(2), torch.eye(2)),
            ValueError,
            "covariance must not have negative eigenvalues",
        ),
        (
            lambda: expected_squared_distance(torch.zeros(2), torch.eye(2), torch.eye(2), SINGULAR),
            ValueError,
            "metric must be positive definite",
        ),
        (lambda: decoder_variance(0.0, 2), ValueError, "invariance must be positive"),
        (lambda: decoder_variance(1.0, 2, convention="other"), ValueError, "must be one of"),
        (lambda: GaussianViews(1.0, 0.0), ValueError, "noise must be positive"),
        (lambda: GaussianViews(1.0, 1.0).covariance(0.0), ValueError, "scale must be positive"),
    ],
)
def test_information__refuses_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_gaussian_views__information_is_the_integral_of_the_joint_density():
    views = GaussianViews(0.9, 0.7)
    x = torch.linspace(-11, 11, 401, dtype=torch.float64)  # ten standard deviations
    pairs = torch.cartesian_prod(x, x)
    joint = gaussian_log_density(pairs, torch.zeros_like(pairs), views.covariance())
    one = gaussian_log_density(x[:, None], torch.zeros_like(x[:, None]), views.variance)
    ratio = joint - (one[:, None] + one).flatten()
    # The trapezoidal rule with 14 points a deviation is exact to rounding, which logarithms of
    # fifty multiply where the density is not negligible.
    found = float((joint.exp() * ratio).sum()) * float(x[1] - x[0]) ** 2
    assert found == pytest.approx(views.information, abs=1e-11)

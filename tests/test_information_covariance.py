"""Tests of log-determinants beside covariance penalties: inequalities, maximisers, thresholds."""

import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from vcreg_theory import seeding
from vcreg_theory.information import (
    equal_variance,
    equicorrelation,
    equicorrelation_terms,
    feasibility_margin,
    gaussian_entropy,
    hadamard_gap,
    logdet_remainder,
    metric_maximiser,
    pair_variance,
    remainder_constant,
    shrinkage_threshold,
    spectral_maximiser,
    trace_maximiser,
    variances_maximiser,
)
from vcreg_theory.losses import vcreg_loss, vicreg_loss

EPS = np.finfo(np.float64).eps
EYE = torch.eye(3, dtype=torch.float64)


@pytest.fixture
def rng() -> np.random.Generator:
    return seeding.numpy_generator(0, "covariance")


def _covariance(rng, d, n=None):
    root = rng.standard_normal((d, n or d + 3))
    return torch.tensor(root @ root.T) / (n or d + 3)


def _correlation(rng, d, n=None):
    """A random correlation matrix; few degrees of freedom make it nearly singular."""
    cov = _covariance(rng, d, n)
    scale = cov.diagonal().rsqrt()
    return (scale[:, None] * cov * scale).fill_diagonal_(1)


def _pair(r):
    return torch.tensor([[1.0, r], [r, 1.0]], dtype=torch.float64)


# --- Hadamard ---------------------------------------------------------------------------------


def test_hadamard_gap__closed_forms():
    for rho in (-0.4, 1e-9, 0.99999):
        cov = torch.tensor([[9.0, 3 * rho], [3 * rho, 1.0]], dtype=torch.float64)
        exact = -math.log1p(-(rho**2))
        assert float(hadamard_gap(cov)) == pytest.approx(exact, rel=8 * EPS / (1 - abs(rho)))
    assert float(hadamard_gap(torch.diag(torch.tensor([1e-9, 1.0, 1e12])))) == 0


def test_hadamard_gap__thousand_covariances(rng):
    for _ in range(1000):
        d = int(rng.integers(2, 9))
        cov = _covariance(rng, d)
        gap = float(hadamard_gap(cov))
        naive = float(cov.diagonal().log().sum() - torch.logdet(cov))
        assert gap > 0
        assert abs(gap - naive) <= 100 * EPS * float(torch.linalg.cond(cov)) * (1 + gap)


def test_hadamard_gap__is_twice_the_divergence_and_sees_no_units(rng):
    cov = _covariance(rng, 4)
    laws = [
        torch.distributions.MultivariateNormal(torch.zeros(4).double(), m)
        for m in (cov, torch.diag(cov.diagonal()))
    ]
    divergence = float(torch.distributions.kl_divergence(*laws))
    assert float(hadamard_gap(cov)) == pytest.approx(2 * divergence, rel=1e-12)
    units = torch.tensor([1e-8, 1.0, 3.0, 1e8], dtype=torch.float64)
    moved = units[:, None] * cov * units
    assert float(hadamard_gap(moved)) == pytest.approx(2 * divergence, rel=1e-12)
    axes = gaussian_entropy(torch.diag(cov.diagonal())) - gaussian_entropy(cov)
    assert float(axes) == pytest.approx(divergence, rel=1e-12)


def test_hadamard_gap__control_rotation_keeps_the_logdet_and_not_the_gap(rng):
    cov = torch.diag(torch.tensor([1.0, 4.0, 0.5], dtype=torch.float64))
    turn = torch.linalg.qr(torch.tensor(rng.standard_normal((3, 3)))).Q
    moved = turn @ cov @ turn.T
    assert float(torch.logdet(moved)) == pytest.approx(math.log(2), abs=1e-14)
    assert float(hadamard_gap(cov)) == 0
    assert float(hadamard_gap(moved)) > 0.01


# --- the remainder ----------------------------------------------------------------------------


@pytest.mark.parametrize("epsilon", [1e-12, 0.1, 0.2499999, 0.25, 0.2500001, 0.9, 1 - 1e-12])
@mpmath.workdps(60)
def test_remainder_constant__against_mpmath(epsilon):
    e = mpmath.mpf(epsilon)
    exact = (-mpmath.log(1 - e) - e - e**2 / 2) / e**2
    # At 1/4 the logarithm cancels to a fiftieth; near 1 the argument has few digits.
    assert remainder_constant(epsilon) == pytest.approx(
        float(exact), rel=1e-13 + EPS / (1 - epsilon)
    )


def test_remainder_constant__series_and_limits():
    assert remainder_constant(0.0) == 0
    assert remainder_constant(1e-200) == pytest.approx(1e-200 / 3, rel=1e-15)
    assert remainder_constant(1e-3) == pytest.approx(1e-3 / 3 + 1e-6 / 4 + 1e-9 / 5, rel=1e-8)


def test_logdet_remainder__thousand_matrices_keep_all_bounds(rng):
    bounded = 0
    for _ in range(1000):
        d = int(rng.integers(2, 9))
        found = logdet_remainder(_correlation(rng, d, d + int(rng.integers(0, 80))))
        slack = 64 * EPS * float(found.off_diagonal)
        assert float(found.lower) - slack <= -float(found.log_det) <= float(found.upper) + slack
        assert abs(float(found.remainder)) <= float(found.bound) + slack
        bounded += math.isfinite(found.bound)
    assert bounded > 100


def test_logdet_remainder__fields_are_what_they_say(rng):
    for _ in range(50):
        matrix = _correlation(rng, 5)
        found = logdet_remainder(matrix)
        excess = matrix - torch.eye(5)
        energy, log_det = float(excess.square().sum()), float(torch.logdet(matrix))
        assert float(found.log_det) == pytest.approx(log_det, rel=1e-12)
        assert float(found.off_diagonal) == pytest.approx(energy, rel=1e-14)
        assert float(found.remainder) == pytest.approx(log_det + energy / 2, abs=1e-12)
        assert float(found.epsilon) == pytest.approx(
            float(torch.linalg.matrix_norm(excess, 2)), rel=1e-13
        )
        if found.epsilon < 1:
            constant = remainder_constant(float(found.epsilon))
            assert float(found.bound) == pytest.approx(constant * energy, rel=1e-12)
        else:
            assert float(found.bound) == math.inf


@pytest.mark.parametrize("rho", [1e-5, 1e-3, 0.3])
def test_logdet_remainder__third_order_without_cancellation(rho):
    found = logdet_remainder(equicorrelation(4, rho))
    with mpmath.workdps(60):
        r = mpmath.mpf(rho)
        exact = 3 * mpmath.log(1 - r) + mpmath.log(1 + 3 * r) + 6 * r**2
    # Eigenvalues have errors of a few EPS; the remainder is their cube.
    assert float(found.remainder) == pytest.approx(float(exact), rel=50 * EPS / rho)
    third = 4 * 3 * 2 * rho**3 / 3  # tr E^3 / 3
    # The fourth order, -tr E^4 / 4, is 21 rho / 8 of the third, and the series alternates.
    assert float(found.remainder) == pytest.approx(third, rel=2.625 * rho + 50 * EPS / rho)


def test_logdet_remainder__fourth_order_if_the_cubes_cancel():
    excess = torch.zeros(4, 4, dtype=torch.float64)
    excess[:2, 2:] = torch.tensor([[0.5, -0.2], [0.3, 0.4]])
    excess = excess + excess.T  # bipartite: eigenvalues in pairs of opposite sign
    values = [float(logdet_remainder(torch.eye(4) + t * excess).remainder) for t in (1e-2, 5e-3)]
    slope = math.log2(values[0] / values[1])
    # The next order is the sixth, so the slope misses 4 by a few times t squared.
    assert abs(slope - 4) < 1e-3


def test_logdet_remainder__control_a_diagonal_that_is_not_one_is_refused():
    with pytest.raises(ValueError, match="unit diagonal"):
        logdet_remainder(torch.diag(torch.tensor([1.0, 1.01])))


def test_rankings__may_be_opposite():
    one, other = _pair(0.99), equicorrelation(4, 0.5)
    one = torch.block_diag(one, torch.eye(2, dtype=torch.float64))
    first, second = logdet_remainder(one), logdet_remainder(other)
    assert first.off_diagonal < second.off_diagonal
    assert first.log_det < second.log_det
    assert float(first.off_diagonal) == pytest.approx(2 * 0.9801)
    assert float(second.log_det) == pytest.approx(3 * math.log(0.5) + math.log(2.5))


@given(st.integers(1, 12), st.floats(0.001, 0.999))
def test_equicorrelation__closed_forms(d, share):
    least = -1 / (d - 1) if d > 1 else -1.0
    rho = least + share * (1 - least)
    matrix, terms = equicorrelation(d, rho), equicorrelation_terms(d, rho)
    values = torch.linalg.eigvalsh(matrix - torch.eye(d))
    smallest = 1 + float(values[0])
    assert terms.smallest == pytest.approx(float(values[0]), abs=32 * d * EPS)
    assert terms.largest == pytest.approx(float(values[-1]), abs=32 * d * EPS)
    assert terms.off_diagonal == pytest.approx(float((matrix - torch.eye(d)).square().sum()))
    found = -float(hadamard_gap(matrix))
    assert terms.log_det == pytest.approx(found, abs=32 * d * EPS / smallest + 1e-14)


# --- maximisers -------------------------------------------------------------------------------


def _random_feasible(rng, best, change):
    """A perturbation of `best` along symmetric directions that `change` allows."""
    d = len(best)
    noise = torch.tensor(rng.standard_normal((d, d)))
    return best + change((noise + noise.T) * float(rng.uniform(1e-3, 0.3)))


def test_maximisers__thousand_feasible_covariances_are_below(rng):
    v = torch.tensor([0.5, 1.0, 3.0], dtype=torch.float64)
    metric = _covariance(rng, 3)
    inverse = metric_maximiser(metric)

    def log_det(m):
        return float(torch.logdet(m)) if torch.linalg.eigvalsh(m)[0] > 0 else -math.inf

    cases = [
        (variances_maximiser(v), lambda e: e - torch.diag(e.diagonal()), log_det),
        (trace_maximiser(2.0, 3), lambda e: e - e.trace() / 3 * EYE, log_det),
        (spectral_maximiser(1.5, 3), lambda e: -e @ e, log_det),
        (inverse, lambda e: 0.1 * e, lambda m: log_det(m) - float((m @ metric).trace())),
    ]
    for best, change, objective in cases:
        top = objective(best)
        for _ in range(300):
            assert objective(_random_feasible(rng, best, change)) < top


def test_maximisers__closed_forms():
    v = torch.tensor([0.5, 2.0])
    assert torch.equal(variances_maximiser(v), torch.diag(v))
    assert torch.equal(trace_maximiser(3.0, 2), 1.5 * torch.eye(2).double())
    assert torch.equal(spectral_maximiser(0.5, 2), 0.5 * torch.eye(2).double())
    metric = equicorrelation(2, 0.3)
    inverse = torch.tensor([[1.0, -0.3], [-0.3, 1.0]], dtype=torch.float64) / 0.91
    torch.testing.assert_close(metric_maximiser(metric), inverse, rtol=1e-14, atol=0)


def test_metric_maximiser__off_diagonal_of_the_equicorrelated_metric():
    found = metric_maximiser(equicorrelation(5, 0.3))
    # (I - 0.3 / (0.7 + 1.5) 11') / 0.7
    assert float(found[0, 1]) == pytest.approx(-0.3 / 2.2 / 0.7, rel=1e-13)


def test_variances_maximiser__local_noise_that_leaves_no_room_for_a_diagonal():
    local = torch.tensor([[0.9, 0.6], [0.6, 0.9]], dtype=torch.float64)
    for sign in (1.0, -1.0):
        signed = local * torch.tensor([[1.0, sign], [sign, 1.0]], dtype=torch.float64)
        found = variances_maximiser(torch.ones(2).double(), local=signed, tolerance=1e-12)
        # Feasible correlations lie in sign [0.5, 0.7]; the nearest to zero is best.
        assert float(found[0, 1]) == pytest.approx(sign * 0.5, abs=1e-9)
        assert float(feasibility_margin(torch.ones(2).double(), signed)) == pytest.approx(-0.5)
    half = variances_maximiser(torch.ones(2).double(), local=local / 2)
    assert torch.equal(half, torch.eye(2).double())


@pytest.mark.parametrize("d", [2, 3, 5])
def test_variances_maximiser__has_a_certificate(rng, d):
    local = _covariance(rng, d, 2 * d)
    units = 10.0 ** torch.arange(d)
    local = units[:, None] * local * units
    v = 1.05 * local.diagonal()
    tolerance = 1e-8
    found = variances_maximiser(v, local=local, tolerance=tolerance)
    assert float(feasibility_margin(v, local)) < 0
    torch.testing.assert_close(found.diagonal(), v, rtol=1e-12, atol=0)
    scale = v.rsqrt()
    matrix, least = (scale[:, None] * m * scale for m in (found, local))
    assert float(torch.linalg.eigvalsh(matrix - least)[0]) > 0
    # A dual point: inverse = diag(y) - P with P positive proves that no feasible matrix is better
    # by more than tr P (matrix - least); P is what the off-diagonal of the inverse leaves.
    dual = _dual(matrix, least)
    assert 0 <= float((dual @ (matrix - least)).trace()) < 10 * tolerance


def _dual(matrix, least):
    """Return a positive semi-definite matrix whose off-diagonal is minus that of the inverse."""
    # From the barrier's stationarity: inv(S) + w inv(S - N) is diagonal; w by least squares.
    own, other = torch.linalg.inv(matrix), torch.linalg.inv(matrix - least)
    i, j = torch.triu_indices(len(matrix), len(matrix), 1)
    weight = -float(own[i, j] @ other[i, j] / other[i, j].square().sum())
    residual = own[i, j] + weight * other[i, j]
    assert weight > 0
    assert float(residual.abs().max()) < 1e-4 * float(own[i, j].abs().max())
    return weight * other


def test_trace_maximiser__fills_up_the_small_eigenvalues(rng):
    local = _covariance(rng, 4)
    values = torch.linalg.eigvalsh(local)
    for trace in (float(values.sum()) + 1e-6, 1.3 * float(values.sum()), 100.0):
        found = trace_maximiser(trace, 4, local=local)
        assert float(found.trace()) == pytest.approx(trace, rel=1e-13)
        assert float(torch.linalg.eigvalsh(found - local)[0]) > -1e-12
        levels = torch.linalg.eigvalsh(found)
        level = optimize.brentq(
            lambda w, trace=trace: float(values.clamp(min=w).sum()) - trace, 0, trace, xtol=1e-14
        )
        torch.testing.assert_close(levels, values.clamp(min=level), rtol=1e-10, atol=0)
    torch.testing.assert_close(found, 25 * torch.eye(4).double(), rtol=1e-12, atol=1e-12)
    small = trace_maximiser(4.0, 4, local=local / 100)
    torch.testing.assert_close(small, torch.eye(4).double(), rtol=1e-12, atol=1e-12)


# --- VICReg's thresholds ----------------------------------------------------------------------


def _batch(correlations, deviations):
    """A batch with exactly these correlations and deviations, of the sample with n - 1."""
    d = len(correlations)
    root = torch.linalg.cholesky(correlations)
    signs = torch.tensor(np.array(np.meshgrid(*[[-1.0, 1.0]] * d)).reshape(d, -1).T)
    n = len(signs)
    return signs @ root.T * math.sqrt((n - 1) / n) * torch.as_tensor(deviations)


def _terms(convention, correlations, deviations, nu, eps=0.0, mu=25.0):
    """VICReg's variance and covariance terms of two identical views, by the losses themselves."""
    z = _batch(correlations, deviations)
    if convention == "one view":
        return float(vcreg_loss(z, variance=mu, covariance=nu, eps=eps).loss)
    options = {"variance": mu, "covariance": nu, "eps": eps, "convention": convention}
    return float(vicreg_loss(z, z, **options).loss)


@pytest.mark.parametrize("convention", ["official", "paper", "one view"])
@pytest.mark.parametrize("eps", [0.0, 1e-2])
def test_shrinkage_threshold__is_where_the_losses_start_to_shrink(rng, convention, eps):
    name = "paper" if convention == "one view" else convention
    matrix = _correlation(rng, 3)
    nu = float(shrinkage_threshold(matrix, eps=eps, convention=name))
    row = int((matrix - EYE).square().sum(1).argmax())
    at = np.sqrt(np.ones(3) - eps)

    def change(weight, step):
        less = at.copy()
        less[row] *= 1 - step
        one, other = (_terms(convention, matrix, s, weight, eps) for s in (less, at))
        return one - other

    assert change(1.01 * nu, 1e-3) < 0 < change(0.99 * nu, 1e-3)
    for _ in range(100):  # below the threshold no deviations are better, none above one either
        other = at * rng.uniform(0.05, 1.3, 3)
        assert _terms(convention, matrix, other, 0.99 * nu, eps) > _terms(
            convention, matrix, at, 0.99 * nu, eps
        )


def test_shrinkage_threshold__of_a_pair():
    assert float(shrinkage_threshold(_pair(0.99), convention="paper")) == pytest.approx(
        25 / (4 * 0.9801), rel=1e-15
    )
    assert float(shrinkage_threshold(_pair(0.99))) == pytest.approx(25 / (8 * 0.9801), rel=1e-15)
    assert float(shrinkage_threshold(torch.eye(3))) == math.inf
    assert float(shrinkage_threshold(torch.ones(2, 2))) == pytest.approx(25 / 8)  # singular: fine


@pytest.mark.parametrize("convention", ["official", "paper", "one view"])
@pytest.mark.parametrize("nu", [5.0, 25.0, 100.0])
def test_equal_and_pair_variance__minimise_the_losses(convention, nu):
    name = "paper" if convention == "one view" else convention
    matrix = _pair(0.99)

    def equal(s):
        return _terms(convention, matrix, [s, s], nu)

    def apart(s):
        return _terms(convention, matrix, [1.0, s], nu)

    shared = float(equal_variance(matrix, nu, convention=name))
    smaller = pair_variance(0.99, nu, convention=name)
    for value, function in ((shared, equal), (smaller, apart)):
        found = optimize.minimize_scalar(
            function, bounds=(1e-3, 1.0), method="bounded", options={"xatol": 1e-9}
        )
        # A minimum is flat: the argument is found to the root of the rounding.
        assert value == pytest.approx(found.x**2, rel=1e-5, abs=1e-5)
    if shared < 1:  # beyond the threshold equal variances are a saddle
        assert apart(math.sqrt(smaller)) < equal(math.sqrt(shared)) - 1e-3
        s = math.sqrt(shared)
        assert _terms(convention, matrix, [s + 0.01, s - 0.01], nu) < equal(s)


def test_pair_variance__no_pair_of_deviations_is_better(rng):
    best = _terms(
        "paper", _pair(0.9), [1.0, math.sqrt(pair_variance(0.9, 20.0, convention="paper"))], 20.0
    )
    for _ in range(300):
        assert _terms("paper", _pair(0.9), rng.uniform(0, 1.4, 2), 20.0) >= best


def test_variances__of_the_example():
    found = [float(equal_variance(_pair(0.99), nu, convention="paper")) for nu in (10, 25.0, 100)]
    assert np.round(found, 2).tolist() == [0.74, 0.40, 0.16]


# --- gradients, dtypes, errors ----------------------------------------------------------------


def test_gradients__of_the_log_determinants(rng):
    root = torch.tensor(rng.standard_normal((3, 5)), requires_grad=True)

    def correlations(r):
        unit = r / r.norm(dim=1, keepdim=True)
        lower = (unit @ unit.T).tril(-1)
        return lower + lower.T + torch.eye(3, dtype=r.dtype)

    def remainder(r):
        return tuple(logdet_remainder(correlations(0.2 * r + torch.eye(3, 5).double())))

    assert torch.autograd.gradcheck(lambda r: hadamard_gap(r @ r.T), root)
    assert torch.autograd.gradcheck(remainder, root)
    assert torch.autograd.gradcheck(lambda r: metric_maximiser(r @ r.T), root)
    assert torch.autograd.gradcheck(lambda r: shrinkage_threshold(correlations(r)), root)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype__is_kept(dtype):
    pair = _pair(0.5).to(dtype)
    v = torch.ones(2, dtype=dtype)
    found = [
        hadamard_gap(pair),
        *logdet_remainder(pair),
        metric_maximiser(pair),
        variances_maximiser(v, local=pair / 2),
        trace_maximiser(3.0, 2, local=pair),
        spectral_maximiser(2.0, 2, local=pair),
        feasibility_margin(v, pair),
        shrinkage_threshold(pair),
        equal_variance(pair, 1.0),
    ]
    assert {value.dtype for value in found} == {dtype}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_device__is_kept():
    pair, v = _pair(0.5).cuda(), torch.ones(2, dtype=torch.float64, device="cuda")
    local = torch.tensor([[0.9, 0.6], [0.6, 0.9]], dtype=torch.float64, device="cuda")
    found = [
        hadamard_gap(pair),
        *logdet_remainder(pair),
        metric_maximiser(pair),
        variances_maximiser(v, local=local),
        trace_maximiser(3.0, 2, local=pair),
        spectral_maximiser(2.0, 2, local=pair),
        feasibility_margin(v, pair),
        shrinkage_threshold(pair),
    ]
    assert {value.device.type for value in found} == {"cuda"}


NAN = torch.tensor([[1.0, math.nan], [math.nan, 1.0]])
ONES = torch.ones(2, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hadamard_gap(ONES), "covariance must be positive definite"),
        (lambda: hadamard_gap(NAN), "covariance must be finite"),
        (lambda: hadamard_gap(torch.ones(2)), "covariance must have 2 dimensions"),
        (lambda: hadamard_gap(torch.tensor([[1.0, 0.1], [0.2, 1.0]])), "must be symmetric"),
        (lambda: logdet_remainder(ONES), "correlations must be positive definite"),
        (lambda: logdet_remainder(2 * torch.eye(2)), "unit diagonal"),
        (lambda: remainder_constant(1.0), "epsilon must be below 1"),
        (lambda: remainder_constant(-0.1), "epsilon must not be negative"),
        (lambda: equicorrelation(3, -0.5), "rho must lie strictly between"),
        (lambda: equicorrelation_terms(3, 1.0), "rho must lie strictly between"),
        (lambda: variances_maximiser(torch.tensor([1.0, 0.0])), "variances must be positive"),
        (lambda: variances_maximiser(torch.ones(2), local=ONES), "variances must exceed"),
        (lambda: variances_maximiser(torch.ones(2), local=-ONES), "negative eigenvalues"),
        (lambda: variances_maximiser(torch.ones(2), local=torch.eye(3)), "must have shape"),
        (lambda: feasibility_margin(torch.ones(3), ONES), "local must have shape"),
        (lambda: trace_maximiser(0.0, 2), "trace must be positive"),
        (lambda: trace_maximiser(2.0, 2, local=ONES), "trace must exceed the trace of local"),
        (lambda: spectral_maximiser(1.0, 2, local=ONES), "largest must be at least"),
        (lambda: spectral_maximiser(1.0, 0), "d must be at least 1"),
        (lambda: metric_maximiser(ONES), "metric must be positive definite"),
        (lambda: shrinkage_threshold(2 * ONES), "correlations must have a unit diagonal"),
        (lambda: shrinkage_threshold(_pair(1.5)), "entries between -1 and 1"),
        (lambda: shrinkage_threshold(ONES, eps=1.0), "eps must be below gamma squared"),
        (lambda: shrinkage_threshold(ONES, convention="none"), "convention must be one of"),
        (lambda: equal_variance(ONES, 0.0), "covariance must be positive"),
        (lambda: pair_variance(1.1, 1.0), "correlation must lie between"),
        (lambda: pair_variance(0.5, 1.0, variance=-1.0), "variance must be positive"),
    ],
)
def test_covariance__refuses_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()

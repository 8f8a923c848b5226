"""Tests of the probe and its parts: projector, least norm, labels, the norm of the probe."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from sklearn.linear_model import LinearRegression

from vcreg_theory import bounds, seeding

EPS = torch.finfo(torch.float64).eps


def _matrix(seed, n, d, rank=None, decay=0.0):
    """Return a random matrix of a given rank whose singular values fall by powers of ten."""
    generator = seeding.torch_generator(seed, "bounds matrices")
    z = torch.randn(n, d, generator=generator, dtype=torch.float64)
    u, s, v = torch.linalg.svd(z, full_matrices=False)
    s = s * 10.0 ** (-decay * torch.arange(len(s)))
    s[len(s) if rank is None else rank :] = 0
    return (u * s) @ v


shapes = st.tuples(st.integers(1, 12), st.integers(1, 12), st.integers(0, 12), st.integers(0, 99))


# --- the projector ----------------------------------------------------------------------------


@given(shapes)
def test_residual_projector__projects_the_features_away(shape):
    n, d, rank, seed = shape
    rank = min(n, d, rank)
    z = _matrix(seed, n, d, rank)
    p = bounds.residual_projector(z)
    tolerance = 50 * n * EPS  # products of n x n orthonormal matrices
    assert float((p @ p - p).abs().max()) < tolerance
    assert torch.equal(p, p.T) or float((p - p.T).abs().max()) < tolerance
    assert float((p @ z).abs().max()) < tolerance * max(1.0, float(z.norm()))
    assert abs(float(p.trace()) - (n - rank)) < tolerance


def test_residual_projector__is_exact_for_ill_conditioned_features():
    z = _matrix(0, 30, 6, decay=2.0)  # condition number 1e10
    p = bounds.residual_projector(z)
    # I - Z pinv(Z) misses by the condition number times rounding, 1e-6; singular vectors do not.
    assert float((p @ z).norm()) < 100 * EPS * float(z.norm())
    assert abs(float(p.trace()) - 24) < 100 * EPS * 30


def test_residual_projector__of_noise_has_the_trace_as_mean(generator):
    p = bounds.residual_projector(_matrix(1, 50, 16))
    noise = torch.randn(50, 400, generator=generator, dtype=torch.float64)
    total = float((p @ noise).square().sum())  # chi-square with 400 (50 - 16) degrees of freedom
    assert 5e-4 < scipy_stats.chi2.cdf(total, 400 * 34) < 1 - 5e-4


def test_residual_projector__gradient():
    z = _matrix(2, 7, 3).requires_grad_()
    assert torch.autograd.gradcheck(bounds.residual_projector, z)
    wide = _matrix(2, 3, 5).requires_grad_()
    assert float(
        torch.autograd.grad(bounds.residual_projector(wide).sum(), wide)[0].abs().max()
    ) < (1e-10)  # P is 0 near a matrix of full row rank


# --- the probe --------------------------------------------------------------------------------


@given(shapes, st.integers(1, 4))
def test_minimum_norm_probe__is_that_of_lapack(shape, k):
    n, d, rank, seed = shape
    z = _matrix(seed, n, d, max(1, min(n, d, rank)))
    y = _matrix(seed + 100, n, k)
    found = bounds.minimum_norm_probe(z, y, rtol=1e-12).numpy()
    expected, _, _, values = np.linalg.lstsq(z.numpy(), y.numpy(), rcond=1e-12)
    values = values[values > 1e-12 * values[0]]
    condition = values[0] / values[-1]
    # Least squares is conditioned as the square of the features' condition number.
    tolerance = 100 * EPS * condition**2 * max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


def test_minimum_norm_probe__is_that_of_scikit_learn():
    for n, d in ((40, 7), (6, 15)):
        z, y = _matrix(3, n, d), _matrix(4, n, 3)
        fit = LinearRegression(fit_intercept=False).fit(z.numpy(), y.numpy())
        found = bounds.minimum_norm_probe(z, y)
        np.testing.assert_allclose(found.numpy(), fit.coef_.T, rtol=1e-9, atol=1e-11)


def test_minimum_norm_probe__leaves_the_projected_labels():
    z, y = _matrix(5, 20, 8, rank=5), _matrix(6, 20, 3)
    residual = y - z @ bounds.minimum_norm_probe(z, y)
    torch.testing.assert_close(residual, bounds.residual_projector(z) @ y, rtol=0, atol=1e-12)


def test_minimum_norm_probe__has_the_least_norm_of_all_solutions(generator):
    z, y = _matrix(7, 4, 9), _matrix(8, 4, 2)
    probe = bounds.minimum_norm_probe(z, y)
    null = torch.eye(9, dtype=torch.float64) - torch.linalg.pinv(z) @ z
    other = probe + null @ torch.randn(9, 2, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(z @ other, y, rtol=0, atol=1e-12)
    assert probe.norm() < other.norm()
    assert float((null @ probe).abs().max()) < 1e-13 * 9


@pytest.mark.parametrize(("n", "d"), [(6, 3), (3, 6)])
def test_minimum_norm_probe__gradient(n, d):
    z, y = _matrix(9, n, d).requires_grad_(), _matrix(10, n, 2).requires_grad_()
    assert torch.autograd.gradcheck(bounds.minimum_norm_probe, (z, y))


def test_probe_risk__by_hand():
    z = torch.tensor([[3.0, 4.0], [0.0, 1.0]], dtype=torch.float64)
    probe = torch.eye(2, dtype=torch.float64)
    y = torch.tensor([[0.0, 0.0], [0.0, 0.5]], dtype=torch.float64)
    assert float(bounds.probe_risk(probe, z, y)) == pytest.approx((5 + 0.5) / 2, abs=1e-15)
    classes = torch.tensor([0, 1])
    expected = (math.sqrt(4 + 16) + 0) / 2
    assert float(bounds.probe_risk(probe, z, classes)) == pytest.approx(expected, abs=1e-15)


# --- labels -----------------------------------------------------------------------------------


def test_label_weights__by_hand():
    rho = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    found = bounds.label_weights(torch.tensor([0, 1, 0, 0]), rho, allow_missing=True)
    assert found.weights.tolist() == pytest.approx([0.5 / 3, 0.3, 0.5 / 3, 0.5 / 3])
    assert float(found.spread) == pytest.approx(0.25 / 3 + 0.09)
    assert float(found.missing) == pytest.approx(0.2)


def test_label_weights__spread_is_at_least_one_over_n(generator):
    rho = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64)
    exact = bounds.label_weights(torch.tensor([0, 0, 1, 2]), rho)
    assert float(exact.spread) == 0.25 and float(exact.weights.sum()) == 1
    for _ in range(200):
        labels = torch.cat([torch.arange(3), torch.randint(3, (9,), generator=generator)])
        found = bounds.label_weights(labels, rho)
        proportional = torch.bincount(labels).tolist() == [6, 3, 3]
        assert float(found.spread) >= (1 - 4 * EPS) / 12
        assert proportional == (float(found.spread) < (1 + 4 * EPS) / 12)


def test_label_frequencies__with_and_without_a_ridge():
    labels = torch.tensor([2, 0, 2])
    assert bounds.label_frequencies(labels, 4).tolist() == pytest.approx([1 / 3, 0, 2 / 3, 0])
    found = bounds.label_frequencies(labels, 4, smoothing=0.5)
    assert found.tolist() == pytest.approx([0.3, 0.1, 0.5, 0.1])


# --- the norm of the probe --------------------------------------------------------------------


def test_probe_norm_bound__is_attained():
    labels = torch.tensor([0, 1, 2] * 4)
    y = bounds.one_hot(labels, 3)
    found = bounds.probe_norm_bound(y, y)  # features that are the labels, balanced
    assert float(found.orthogonal) == pytest.approx(1) and float(found.conditioning) == (
        pytest.approx(1 / 3)
    )
    assert float(torch.linalg.matrix_norm(bounds.minimum_norm_probe(y, y), 2)) == pytest.approx(1)
    z = torch.tensor([[2.0], [-2.0], [2.0]], dtype=torch.float64)
    general = bounds.probe_norm_bound(z, z / 2)  # labels +1 and -1 in one dimension
    probe = bounds.minimum_norm_probe(z, z / 2)
    assert general.orthogonal is None
    assert float(general.general) == pytest.approx(0.5) == float(probe)


def _norm_cases(generator, cases=1500):
    """Yield random well- and ill-conditioned features with one-hot labels."""
    for _ in range(cases):
        k, d = (int(torch.randint(2, 6, (1,), generator=generator)) for _ in range(2))
        n = d + int(torch.randint(1, 25, (1,), generator=generator))
        scale = 10.0 ** (-2 * torch.rand(d, generator=generator, dtype=torch.float64))
        z = torch.randn(n, d, generator=generator, dtype=torch.float64) * scale
        yield z, torch.randint(k, (n,), generator=generator), k


def test_probe_norm_bound__has_no_violation(generator):
    ratios = []
    for z, labels, k in _norm_cases(generator):
        y = bounds.one_hot(labels, k)
        found = bounds.probe_norm_bound(z, y)
        norm = float(torch.linalg.matrix_norm(bounds.minimum_norm_probe(z, y), 2))
        assert norm <= float(found.orthogonal) * (1 + 1e-10)  # rounding at condition 1e3
        assert float(found.orthogonal) <= float(found.general) * (1 + 1e-10)
        largest = int(torch.bincount(labels).max())
        kappa = float(torch.linalg.eigvalsh(z.T @ z / len(z))[0])
        assert float(found.orthogonal) == pytest.approx(math.sqrt(largest / (len(z) * kappa)))
        ratios.append(norm / float(found.orthogonal))
    assert len(ratios) >= 1000 and max(ratios) > 0.5


def test_probe_norm_bound__needs_orthogonal_labels(generator):
    violated = 0
    for _ in range(100):
        y = torch.zeros(40, 3, dtype=torch.float64)
        y[:, 0] = 2.0 * torch.randint(2, (40,), generator=generator) - 1
        z = torch.randn(40, 2, generator=generator, dtype=torch.float64)
        z[:, 0] = y[:, 0]
        z = torch.linalg.qr(z).Q * math.sqrt(40)  # whitened: kappa = 1
        found = bounds.probe_norm_bound(z, y)
        norm = float(torch.linalg.matrix_norm(bounds.minimum_norm_probe(z, y), 2))
        counts = int((y[:, 0] > 0).sum())
        one_hot_form = math.sqrt(max(counts, 40 - counts) / (40 * float(found.conditioning)))
        assert found.orthogonal is None and norm <= float(found.general) * (1 + 1e-10)
        violated += norm > one_hot_form * (1 + 1e-10)
    # Violated unless all labels are equal, which has probability 2 ** -39 a draw.
    assert violated == 100


def test_probe_norm_bound__without_full_rank_is_infinite():
    z = _matrix(11, 3, 5)
    found = bounds.probe_norm_bound(z, bounds.one_hot(torch.tensor([0, 1, 1]), 2))
    assert float(found.conditioning) == 0 and math.isinf(float(found.general))
    assert math.isinf(float(found.orthogonal))


# --- errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda z, y: bounds.residual_projector(z[0]), "2 dimensions"),
        (lambda z, y: bounds.residual_projector(z * math.nan), "finite"),
        (lambda z, y: bounds.residual_projector(z, rtol=-1.0), "rtol must not be negative"),
        (lambda z, y: bounds.minimum_norm_probe(z, z[:2]), "y must have 3 rows"),
        (lambda z, y: bounds.minimum_norm_probe(z[:, :0], z), "at least 1 column"),
        (lambda z, y: bounds.probe_risk(z, z, y), "probe must have 2 rows"),
        (lambda z, y: bounds.probe_risk(z[:2], z, y + 5), "lie in 0 to 1"),
        (lambda z, y: bounds.probe_norm_bound(z, 3 * z), "norm at most 1"),
        (lambda z, y: bounds.one_hot(y, 1), "lie in 0 to 0"),
        (lambda z, y: bounds.label_frequencies(y, 2, smoothing=-1), "smoothing must not"),
        (lambda z, y: bounds.label_weights(y, torch.tensor([0.5, 0.6])), "sum 1"),
        (lambda z, y: bounds.label_weights(y, torch.tensor([1.5, -0.5])), "minimum -0.5"),
        (lambda z, y: bounds.label_weights(y, torch.tensor([1.0, 0.0])), r"classes \[1\]"),
        (lambda z, y: bounds.label_weights(y[:2], torch.tensor([0.5, 0.5])), r"\[1\] are missing"),
        (lambda z, y: bounds.label_weights(y - 1, torch.tensor([0.5, 0.5])), "got -1 to 0"),
    ],
)
def test_probe__refuses_bad_input(call, message):
    z = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 2.0]])
    with pytest.raises(ValueError, match=message):
        call(z, torch.tensor([0, 0, 1]))


def test_probe__refuses_wrong_types():
    z = torch.ones(2, 2)
    with pytest.raises(TypeError, match=r"z must be a torch\.Tensor"):
        bounds.residual_projector([[1.0]])
    with pytest.raises(TypeError, match="must hold integers"):
        bounds.one_hot(torch.ones(2), 2)
    with pytest.raises(TypeError, match=r"labels must be a torch\.Tensor, got list"):
        bounds.one_hot([0, 1], 2)
    with pytest.raises(ValueError, match="labels must have at least 1 row"):
        bounds.one_hot(torch.zeros(0, dtype=torch.int64), 2)
    with pytest.raises(TypeError, match="rho must be float32 or float64"):
        bounds.label_weights(torch.tensor([0]), torch.tensor([1]))
    with pytest.raises(TypeError, match="float32 or float64"):
        bounds.minimum_norm_probe(z, torch.ones(2, 2, dtype=torch.int64))


def test_probe_norm_bound__is_infinite_below_full_rank_and_zero_for_zero_labels():
    z = torch.randn(50, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    z = torch.cat([z, z.sum(1, keepdim=True)], 1)
    y = torch.eye(2, dtype=torch.float64)[torch.arange(50) % 2]
    found = bounds.probe_norm_bound(z, y)
    assert found.conditioning == 0
    assert found.orthogonal == found.general == torch.inf
    assert bounds.probe_norm_bound(torch.zeros(3, 2), torch.zeros(3, 2)).orthogonal == 0

"""Tests of likelihood, responsibilities, energy and EM: closed forms, peers, bounds, errors."""

import math

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture

from vcreg_theory import seeding
from vcreg_theory.mixtures import (
    collapse_rate,
    diameter,
    em_iterate,
    em_jacobian,
    em_step,
    energy,
    energy_rate,
    likelihood_supremum,
    location_entropy,
    log_likelihood,
    nearest,
    nearest_cost,
    responsibilities,
)

EPS = np.finfo(np.float64).eps


@pytest.fixture
def rng() -> np.random.Generator:
    return seeding.numpy_generator(0, "mixtures")


def _points(rng, n, k, d, scale=1.0):
    return (
        torch.tensor(scale * rng.standard_normal((n, d))),
        torch.tensor(scale * rng.standard_normal((k, d))),
    )


def _peer(centroids, variance):
    """scikit-learn's mixture with these centroids, one variance and equal weights."""
    k = len(centroids)
    peer = GaussianMixture(k, covariance_type="spherical")
    peer.means_ = centroids.numpy()
    peer.covariances_ = np.full(k, variance)
    peer.precisions_cholesky_ = np.full(k, variance**-0.5)
    peer.weights_ = np.full(k, 1 / k)
    return peer


# --- likelihood and responsibilities ----------------------------------------------------------


def test_responsibilities__two_centroids_are_a_logistic_function():
    x = torch.tensor([[-3.0], [0.0], [0.2], [5.0]], dtype=torch.float64)
    found = responsibilities(x, torch.tensor([[1.0], [-1.0]]).double(), 0.5)
    torch.testing.assert_close(found[:, 0], torch.sigmoid(4 * x[:, 0]), rtol=1e-14, atol=0)
    torch.testing.assert_close(found.sum(1), torch.ones(4).double(), rtol=1e-14, atol=0)


@pytest.mark.parametrize("variance", [0.01, 1.0, 30.0])
def test_likelihood__is_scikit_learns(rng, variance):
    for _ in range(20):
        n, k, d = (int(v) for v in rng.integers(1, 7, 3))
        x, centroids = _points(rng, n, k, d)
        peer = _peer(centroids, variance)
        # scikit-learn expands the square, which cancels by the size of the exponents.
        size = (9 * d + 9) / variance
        np.testing.assert_allclose(
            responsibilities(x, centroids, variance).numpy(),
            peer.predict_proba(x.numpy()),
            rtol=0,
            atol=64 * EPS * size,
        )
        total = peer.score_samples(x.numpy()).sum()
        assert float(log_likelihood(x, centroids, variance)) == pytest.approx(
            total, abs=64 * EPS * size * n
        )


def test_likelihood__gradient_is_the_pull(rng):
    x, centroids = _points(rng, 5, 3, 2)
    x.requires_grad_(), centroids.requires_grad_()
    r = responsibilities(x, centroids, 0.7)
    dx, dmu = torch.autograd.grad(log_likelihood(x, centroids, 0.7), (x, centroids))
    torch.testing.assert_close(dx, (r @ centroids - x) / 0.7)
    torch.testing.assert_close(dmu, (r.T @ x - r.sum(0)[:, None] * centroids) / 0.7)


def test_likelihood__supremum_is_attained_exactly_at_collapse(rng):
    top = likelihood_supremum(6, 2, 0.3)
    one = torch.full((1, 2), 1.7, dtype=torch.float64)
    assert float(log_likelihood(one.expand(6, 2), one.expand(4, 2), 0.3)) == pytest.approx(
        top, rel=1e-14
    )
    for _ in range(1000):
        x, centroids = _points(rng, 6, 4, 2, scale=float(10 ** rng.uniform(-3, 1)))
        assert float(log_likelihood(x, centroids, 0.3)) < top


def test_likelihood__far_inputs_stay_finite():
    x = torch.tensor([[1e6], [-1e6]], dtype=torch.float64)
    centroids = torch.tensor([[1.0], [0.0]], dtype=torch.float64)
    assert torch.equal(responsibilities(x, centroids, 1.0), torch.eye(2).double())
    # -(1e6 - 1)^2 / 2 - (1e6)^2 / 2, log 2 and the constant
    exact = -((1e6 - 1) ** 2) / 2 - 1e12 / 2 - 2 * math.log(2) - math.log(2 * math.pi)
    assert float(log_likelihood(x, centroids, 1.0)) == pytest.approx(exact, rel=1e-15)


def test_likelihood__does_not_see_a_common_offset(rng):
    x, centroids = _points(rng, 4, 3, 2)
    found = [log_likelihood(x + offset, centroids + offset, 0.4) for offset in (0.0, 2.0**20)]
    # The offset rounds coordinates by 2^-32, and squares of size ten over the variance by more.
    assert abs(float(found[1] - found[0])) < 200 * 2.0**-32


def test_nearest__is_the_mode_of_the_responsibilities(rng):
    x, centroids = _points(rng, 50, 5, 3)
    labels = nearest(x, centroids)
    assert torch.equal(labels, responsibilities(x, centroids, 0.5).argmax(1))
    direct = (x - centroids[labels]).square().sum()
    assert float(nearest_cost(x, centroids)) == pytest.approx(float(direct), rel=1e-14)
    # The limit of the likelihood for small variance.
    limit = -2e-6 * float(log_likelihood(x, centroids, 1e-6))
    assert limit == pytest.approx(float(direct), rel=1e-2)


# --- energy -----------------------------------------------------------------------------------


def test_energy__closed_forms():
    x = torch.tensor([[0.0, 0.0], [3.0, 0.0]], dtype=torch.float64) + 1e8
    centroids = torch.tensor([[0.0, 3.0]], dtype=torch.float64) + 1e8
    assert float(energy(x, centroids)) == 12  # mean (1, 1)
    assert float(diameter(x)) == 3
    assert float(diameter(x, centroids)) == math.sqrt(18)
    assert float(energy(x[:1], x[:1])) == float(diameter(x[:1])) == 0
    assert collapse_rate(3, 5, 2.0, 0.5) == pytest.approx(2 * 3 / 2.5 * math.exp(-4))
    assert collapse_rate(3, 5, 1e3, 1.0) == 0


def test_energy_rate__is_the_derivative_along_the_gradient(rng):
    for _ in range(100):
        n, k, d = (int(v) for v in rng.integers(1, 7, 3))
        x, centroids = _points(rng, n, k, d)
        variance = float(rng.uniform(0.2, 3))
        parts = (x.requires_grad_(), centroids.requires_grad_())
        up = torch.autograd.grad(log_likelihood(*parts, variance), parts)
        slope = torch.autograd.grad(energy(*parts), parts)
        along = sum(float((u * s).sum()) for u, s in zip(up, slope, strict=True))
        assert float(energy_rate(*parts, variance).detach()) == pytest.approx(along, rel=1e-11)


def test_energy_rate__thousand_states_decay_at_least_as_proved(rng):
    for _ in range(1000):
        n, k, d = (int(v) for v in rng.integers(1, 9, 3))
        x, centroids = _points(rng, n, k, d, scale=float(10 ** rng.uniform(-2, 0.5)))
        variance = float(10 ** rng.uniform(-1, 1))
        rate = collapse_rate(n, k, float(diameter(x, centroids)), variance)
        found, bound = float(energy_rate(x, centroids, variance)), float(energy(x, centroids))
        assert found <= -rate * bound * (1 - 1e-12)  # equal for one input and one centroid


def test_energy_rate__control_the_bound_needs_the_diameter():
    x = torch.tensor([[-3.0], [3.0]], dtype=torch.float64)
    rate = collapse_rate(2, 2, 6.0, 1.0)
    found = -float(energy_rate(x, x, 1.0)) / float(energy(x, x))
    assert rate < found < collapse_rate(2, 2, 3.0, 1.0)  # with the radius in its place it fails


def test_diameter__in_blocks(rng):
    x = torch.tensor(rng.uniform(0, 1, (2500, 1)))
    assert float(diameter(x)) == pytest.approx(float(x.max() - x.min()), rel=1e-15)


# --- EM ---------------------------------------------------------------------------------------


def test_em_step__is_scikit_learns(rng):
    for _ in range(20):
        n, k, d = (int(v) for v in rng.integers(2, 9, 3))
        x, centroids = _points(rng, n, k, d)
        shares = _peer(centroids, 0.5).predict_proba(x.numpy())
        means = shares.T @ x.numpy() / shares.sum(0)[:, None]
        # A component with few responsibilities has them to an absolute error only.
        atol = 1e-11 / shares.sum(0).min()
        np.testing.assert_allclose(em_step(x, centroids, 0.5).numpy(), means, rtol=0, atol=atol)


def test_em_step__never_lowers_the_likelihood(rng):
    for _ in range(1000):
        n, k, d = (int(v) for v in rng.integers(1, 9, 3))
        x, centroids = _points(rng, n, k, d)
        variance = float(10 ** rng.uniform(-1, 1))
        before = float(log_likelihood(x, centroids, variance))
        after = float(log_likelihood(x, em_step(x, centroids, variance), variance))
        assert after >= before - 1e-12 * (1 + abs(before))


def test_em_step__a_fixed_point_is_a_critical_point(rng):
    x, centroids = _points(rng, 12, 3, 2)
    rest = em_iterate(x, centroids, 0.2).requires_grad_()
    (slope,) = torch.autograd.grad(log_likelihood(x, rest, 0.2), rest)
    # gradient = sum_n r_nk / variance times the step, which the tolerance bounds by 1e-12 reach
    assert float(slope.abs().max()) < 1e-12 * 12 / 0.2 * 10


def test_em_step__a_far_centroid_goes_to_an_input():
    x = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    found = em_step(x, torch.tensor([[0.5], [1e5]]).double(), 1e-3)
    assert float(found[1]) == 1
    assert math.isclose(float(found[0]), 0, abs_tol=1e-15)


def test_em_jacobian__is_the_derivative_of_the_common_map(rng):
    x, centroids = _points(rng, 7, 3, 2)
    r = torch.logsumexp(-torch.cdist(x, centroids).square() / 1.6, 1)

    def common(mu):
        return torch.softmax(-(x - mu).square().sum(1) / 1.6 - r, 0) @ x

    found = em_jacobian(x, centroids, 0.8)
    for mu, matrix in zip(centroids, found, strict=True):
        torch.testing.assert_close(matrix, torch.autograd.functional.jacobian(common, mu))
    torch.testing.assert_close(
        torch.stack([common(mu) for mu in centroids]), em_step(x, centroids, 0.8)
    )


def test_em_jacobian__thousand_norms_below_popovicius_bound(rng):
    for _ in range(1000):
        n, k, d = (int(v) for v in rng.integers(1, 8, 3))
        x, centroids = _points(rng, n, k, d)
        variance = float(10 ** rng.uniform(-2, 1))
        norms = torch.linalg.matrix_norm(em_jacobian(x, centroids, variance), 2)
        bound = float(diameter(x)) ** 2 / (4 * variance)
        assert float(norms.max()) <= bound * (1 + 1e-12)


def test_em_iterate__says_when_it_has_not_come_to_rest(rng):
    x, centroids = _points(rng, 6, 2, 1)
    with pytest.raises(ValueError, match="max_steps must be larger"):
        em_iterate(x, centroids, 0.5, max_steps=2)


# --- entropy of places ------------------------------------------------------------------------


def test_location_entropy__counts_places():
    places = torch.tensor([[0.0], [100.0], [200.0]], dtype=torch.float64)
    many = places[[0, 0, 1, 1, 1, 2]]
    exact = -sum(c / 6 * math.log(c / 6) for c in (2, 3, 1))
    assert float(location_entropy(many, 0.5)) == pytest.approx(exact, abs=1e-14)
    assert float(location_entropy(places, 0.5)) == pytest.approx(math.log(3), abs=1e-14)
    assert abs(float(location_entropy(places[[0, 0]], 0.5))) < 1e-14
    pair = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    exact = -math.log((1 + math.exp(-1 / 8)) / 2)
    assert float(location_entropy(pair, 1.0)) == pytest.approx(exact, abs=1e-14)
    wide = torch.zeros(3, 4000)
    assert abs(float(location_entropy(wide, 1e-3))) < 1e-6  # the constant is not in float32


# --- gradients, dtypes, errors ----------------------------------------------------------------


def test_gradients__once_and_twice(rng):
    x, centroids = (part.requires_grad_() for part in _points(rng, 4, 3, 2))
    for function in (
        lambda a, b: log_likelihood(a, b, 0.6),
        lambda a, b: responsibilities(a, b, 0.6),
        lambda a, b: energy_rate(a, b, 0.6),
        lambda a, b: em_step(a, b, 0.6),
        energy,
        nearest_cost,
    ):
        assert torch.autograd.gradcheck(function, (x, centroids))
    assert torch.autograd.gradcheck(lambda a: location_entropy(a, 0.6), x)
    assert torch.autograd.gradgradcheck(lambda a, b: log_likelihood(a, b, 0.6), (x, centroids))
    same = torch.zeros(3, 2, dtype=torch.float64, requires_grad=True)  # collapse: no NaN
    (slope,) = torch.autograd.grad(log_likelihood(same, same, 1.0), same)
    assert torch.equal(slope, torch.zeros(3, 2).double())


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_dtype__is_kept_and_half_precision_widened(rng, dtype):
    x, centroids = (part.to(dtype) for part in _points(rng, 4, 3, 2))
    wanted = torch.float32 if dtype == torch.float16 else dtype
    found = [
        log_likelihood(x, centroids, 0.6),
        responsibilities(x, centroids, 0.6),
        energy(x, centroids),
        energy_rate(x, centroids, 0.6),
        diameter(x, centroids),
        em_step(x, centroids, 0.6),
        em_jacobian(x, centroids, 0.6),
        em_iterate(x, centroids, 0.6),
        nearest_cost(x, centroids),
        location_entropy(x, 0.6),
    ]
    assert {value.dtype for value in found} == {wanted}
    exact = log_likelihood(x.double(), centroids.double(), 0.6)
    assert float(found[0]) == pytest.approx(float(exact), rel=1e-6)


@pytest.mark.parametrize(
    "function", [log_likelihood, responsibilities, energy_rate, em_step, em_jacobian, em_iterate]
)
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": [[0.0]]}, TypeError, "x must be a torch.Tensor"),
        ({"x": torch.zeros(2)}, ValueError, "x must have 2 dimensions"),
        ({"x": torch.full((2, 1), math.nan)}, ValueError, "x must be finite"),
        ({"x": torch.zeros(0, 1)}, ValueError, "x must have at least 1 row"),
        ({"centroids": torch.zeros(2, 3)}, ValueError, "same number of columns"),
        ({"centroids": torch.zeros(2, 1).double()}, ValueError, "share dtype and device"),
        ({"centroids": torch.full((2, 1), math.inf)}, ValueError, "centroids must be finite"),
        ({"variance": 0.0}, ValueError, "variance must be positive"),
        ({"variance": -1.0}, ValueError, "variance must be positive"),
        ({"variance": math.nan}, ValueError, "variance must be finite"),
        ({"variance": "1"}, TypeError, "variance must be a real number"),
        ({"variance": 1e-300}, ValueError, "exponents overflow"),
    ],
)
def test_mixtures__refuse_bad_input(function, change, error, message):
    arguments = {"x": torch.ones(2, 1), "centroids": torch.zeros(2, 1), "variance": 1.0, **change}
    with pytest.raises(error, match=message):
        function(**arguments)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: collapse_rate(0, 1, 1.0, 1.0), "n must be at least 1"),
        (lambda: collapse_rate(1, 1, -1.0, 1.0), "diameter must not be negative"),
        (lambda: likelihood_supremum(1, 1, 0.0), "variance must be positive"),
        (lambda: location_entropy(torch.zeros(2, 1), 0.0), "variance must be positive"),
        (lambda: location_entropy(torch.zeros(2), 1.0), "points must have 2 dimensions"),
        (lambda: energy(torch.zeros(2, 1), torch.zeros(2, 2)), "same number of columns"),
        (lambda: nearest(torch.zeros(2, 1), torch.zeros(2, 2)), "same number of columns"),
        (lambda: diameter(torch.full((2, 1), math.nan)), "x must be finite"),
    ],
)
def test_mixtures__refuse_bad_parameters(call, message):
    with pytest.raises(ValueError, match=message):
        call()

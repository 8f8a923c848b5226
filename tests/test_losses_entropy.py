"""Tests of the log-determinant and the pairwise loss: closed forms, bounds, collapse, precision."""

import math

import pytest
import torch
from scipy.integrate import quad

from vcreg_theory.losses import vicreg_logdet_loss, vicreg_loss, vicreg_pairdist_loss


def _views(generator, n, d):
    za, zb = torch.randn(2, n, d, generator=generator, dtype=torch.float64)
    return za, za + 0.4 * zb


@pytest.mark.parametrize(("shape", "eps"), [((12, 4), 0.0), ((12, 4), 0.3), ((5, 9), 1e-3)])
def test_vicreg_logdet_loss__agrees_with_the_determinant_of_torch_cov(generator, shape, eps):
    za, zb = _views(generator, *shape)
    terms = vicreg_logdet_loss(za, zb, invariance=3.0, entropy=0.7, eps=eps)
    ridge = eps * torch.eye(shape[1], dtype=za.dtype)
    determinants = [torch.linalg.slogdet(torch.cov(z.T) + ridge)[1] for z in (za, zb)]
    distance = (za - zb).square().sum(1).mean() / shape[1]
    expected = 3.0 * distance - 0.7 / 4 * sum(determinants)
    torch.testing.assert_close(terms.loss, expected, rtol=1e-10, atol=0)
    torch.testing.assert_close(terms.invariance, distance)
    torch.testing.assert_close(4 * terms.entropy, sum(determinants), rtol=1e-10, atol=0)


def test_vicreg_logdet_loss__is_stationary_at_the_predicted_scale(generator):
    # Claim B9.d on a batch: lambda a^2 m - beta log a is smallest at a^2 = beta / (2 lambda m) with
    # m the mean squared difference of the views, 2 t^2 in the claim.
    x, y = _views(generator, 30, 1)
    weight, beta = 1.3, 0.7
    best = (beta / (2 * weight * (x - y).square().mean())).sqrt()

    def slope(a):
        a = a.clone().requires_grad_()
        loss = vicreg_logdet_loss(a * x, a * y, invariance=weight, entropy=beta, eps=0.0).loss
        return torch.autograd.grad(loss, a)[0].item()

    assert slope(best) == pytest.approx(0, abs=1e-12)
    assert slope(0.99 * best) < -1e-3 and slope(1.01 * best) > 1e-3


def test_vicreg_logdet_loss__does_not_see_rotations_and_shifts(generator):
    za, zb = _views(generator, 12, 4)
    q = torch.linalg.qr(torch.randn(4, 4, generator=generator, dtype=torch.float64)).Q
    turned = vicreg_logdet_loss(za @ q + 3.0, zb @ q + 3.0)
    torch.testing.assert_close(turned.loss, vicreg_logdet_loss(za, zb).loss)


@pytest.mark.parametrize("shape", [(40, 6), (6, 40)])
def test_vicreg_logdet_loss__survives_float32_features_that_are_nearly_dependent(generator, shape):
    # Condition numbers of 1e10 and more, far beyond float32; single features are given exactly.
    n, d = shape
    z = torch.randn(n, d, generator=generator) * 10.0 ** -torch.linspace(0, 5, d)
    z = (z + z[:, :1]).requires_grad_()
    eps = 0.0 if n > d else 1e-8
    found = vicreg_logdet_loss(z, z.detach(), eps=eps)
    exact = vicreg_logdet_loss(z.detach().double(), z.detach().double(), eps=eps)
    assert found.loss.dtype == torch.float32
    assert found.entropy.item() == pytest.approx(exact.entropy.item(), rel=1e-5)
    assert torch.autograd.grad(found.loss, z)[0].isfinite().all()


def test_vicreg_logdet_loss__refuses_a_singular_covariance():
    z = torch.randn(5, 5)
    with pytest.raises(ValueError, match=r"eps must be positive where n <= d, got 0.0 for shape"):
        vicreg_logdet_loss(z, z, eps=0.0)
    z = torch.arange(8.0).reshape(8, 1).expand(8, 2)
    with pytest.raises(ValueError, match="singular to working precision: use a larger eps"):
        vicreg_logdet_loss(z, z, eps=0.0)
    with pytest.raises(ValueError, match="eps must not be negative"):
        vicreg_logdet_loss(z, z, eps=-1.0)


@pytest.mark.parametrize("loss", [vicreg_logdet_loss, vicreg_pairdist_loss, vicreg_loss])
@pytest.mark.parametrize("shape", [(6, 3), (3, 6)])
def test_entropy_losses__have_no_gradient_at_collapse(loss, shape):
    # Claim B6.e; sums of 0.75 are exact, so that the batch is centred to zeros exactly.
    z = torch.full(shape, 0.75, requires_grad=True)
    (gradient,) = torch.autograd.grad(loss(z, z.detach()).loss, z)
    assert gradient.abs().max() == 0


@pytest.mark.parametrize(("kernel", "c"), [("chernoff", 8), ("kl", 2)])
def test_vicreg_pairdist_loss__two_points(kernel, c):
    z = torch.tensor([[0.0, 0.0], [0.6, 0.8]], dtype=torch.float64)  # at distance 1
    found = vicreg_pairdist_loss(z, z, variance=0.3, kernel=kernel)
    expected = math.log(2) - math.log1p(math.exp(-1 / (c * 0.3)))
    assert found.entropy.item() == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("kernel", ["chernoff", "kl"])
def test_vicreg_pairdist_loss__default_variance(kernel):
    # Two points at squared distance 2 d gamma^2 have the kernel 1 / e.
    z = torch.zeros(2, 3, dtype=torch.float64)
    z[1] = 2**0.5 * 1.7
    found = vicreg_pairdist_loss(z, z, gamma=1.7, kernel=kernel)
    assert found.entropy.item() == pytest.approx(math.log(2) - math.log1p(1 / math.e), abs=1e-14)


def test_vicreg_pairdist_loss__agrees_with_loops(generator):
    za, zb = _views(generator, 7, 3)
    entropies = []
    for z in (za, zb):
        rows = [
            sum(math.exp(-float((z[i] - z[j]).square().sum()) / (8 * 0.5)) for j in range(7)) / 7
            for i in range(7)
        ]
        entropies.append(-sum(map(math.log, rows)) / 7)
    found = vicreg_pairdist_loss(za, zb, variance=0.5, hinge=3.0, entropy=0.7, invariance=2.0)
    assert found.entropy.item() == pytest.approx(sum(entropies) / 2, abs=1e-13)
    reference = vicreg_loss(za, zb)
    expected = 2 * reference.invariance + 3 * reference.variance - 0.7 * sum(entropies) / 2
    torch.testing.assert_close(found.hinge, reference.variance)
    torch.testing.assert_close(found.loss, expected, rtol=1e-12, atol=0)


def test_vicreg_pairdist_loss__kernels_enclose_the_entropy_of_the_mixture(generator):
    # Claim B6.b in one dimension, by quadrature; exchanging the kernels would break it.
    sigma = 0.5
    for spread in (0.3, 1.0, 3.0):
        centres = spread * torch.randn(6, 1, generator=generator, dtype=torch.float64)
        points = centres.flatten().tolist()

        def density(x, points=points):
            terms = (math.exp(-0.5 * ((x - p) / sigma) ** 2) for p in points)
            return sum(terms) / (6 * sigma * math.sqrt(2 * math.pi))

        low, high = min(points) - 10 * sigma, max(points) + 10 * sigma
        entropy, error = quad(
            lambda x: -density(x) * math.log(density(x) + 1e-300), low, high, limit=500
        )
        own = 0.5 * math.log(2 * math.pi * math.e * sigma**2)
        lower, upper = (
            own + vicreg_pairdist_loss(centres, centres, variance=sigma**2, kernel=k).entropy.item()
            for k in ("chernoff", "kl")
        )
        assert lower - error < entropy < upper + error and upper - lower > 1e-3


def test_vicreg_pairdist_loss__stays_between_zero_and_log_n_in_float32(generator):
    z = 100 * torch.randn(8, 4, generator=generator) + 1000
    pairs = z.repeat_interleave(2, 0)
    for variance in (1e-12, 1e-6, 1.0):
        assert vicreg_pairdist_loss(z, z, variance=variance).entropy == pytest.approx(math.log(8))
        found = vicreg_pairdist_loss(pairs, pairs, variance=variance).entropy
        assert math.log(8) * 0.999 < found < math.log(16) * 1.001
    assert vicreg_pairdist_loss(pairs, pairs, variance=1e12).entropy == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"variance": 0.0}, "variance must be positive"),
        ({"hinge": -1.0}, "hinge must not be negative"),
        ({"gamma": 0.0}, "gamma must be positive"),
        ({"kernel": "KL"}, "kernel must be one of 'chernoff', 'kl', got 'KL'"),
    ],
)
def test_vicreg_pairdist_loss__refuses_bad_options(option, message):
    with pytest.raises(ValueError, match=message):
        vicreg_pairdist_loss(torch.zeros(3, 2), torch.zeros(3, 2), **option)

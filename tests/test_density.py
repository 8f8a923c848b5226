"""The law of the output: closed forms, invariance, sampling, bounds, and controls that fail."""

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import nn

from vcreg_theory import density, gaussian_measure, seeding
from vcreg_theory.piecewise import activation_pattern, local_affine_map
from vcreg_theory.piecewise.regions import enumerate_regions_2d

EYE, ZERO = torch.eye(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
SIGMAS = torch.tensor([0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0], dtype=torch.float64)


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


def mlp(seed, *sizes, last=None, slope=0.0):
    """A float64 network of (leaky) ReLU layers; weights of He scale, biases of scale one half."""
    layers = []
    with seeding.initialisation(seed):
        for fan_in, fan_out in itertools.pairwise(sizes):
            layer = nn.Linear(fan_in, fan_out)
            nn.init.normal_(layer.weight, std=math.sqrt(2 / fan_in))
            nn.init.normal_(layer.bias, std=0.5)
            layers += [layer, nn.LeakyReLU(slope) if slope else nn.ReLU()]
    return nn.Sequential(*layers[:-1], *([last] if last else [])).double().eval()


def absolute_value():
    """The map x -> |x| as a network."""
    net = nn.Sequential(nn.Linear(1, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False))
    net[0].weight.data = torch.tensor([[1.0], [-1.0]])
    net[2].weight.data = torch.ones(1, 2)
    return net.double()


def pooled(seed):
    """Images of 4 x 4 pixels, a convolution, 2 x 2 max-pooling, two outputs."""
    with seeding.initialisation(seed):
        conv, linear = nn.Conv2d(1, 2, 3, padding=1), nn.Linear(8, 2)
    return nn.Sequential(conv, nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(), linear).double()


def points(seed, n, dim, scale=1.0):
    generator = seeding.torch_generator(seed, "points")
    return scale * torch.randn(n, dim, dtype=torch.float64, generator=generator)


def meta_ks(pvalues):
    """P-value of a Kolmogorov-Smirnov test that independent p-values are uniform."""
    return stats.kstest(pvalues, "uniform").pvalue


# --- exit probability -------------------------------------------------------------------------


def test_exit_probability__absolute_value_is_one_tail():
    x, sigma = tensor([[2.0], [-0.5]]), tensor([0.1, 1.0, 3.0])
    expected = tensor(stats.norm.sf(x.abs().numpy().T / sigma.numpy()[:, None]))
    exact = density.exit_probability(absolute_value(), x, sigma, method="exact")
    lower = density.exit_probability(absolute_value(), x, sigma, method="lower")
    torch.testing.assert_close(exact, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(lower, expected, rtol=1e-12, atol=0)
    # Both units switch at zero: the union counts the event twice.
    union = density.exit_probability(absolute_value(), x, sigma)
    torch.testing.assert_close(union, 2 * expected, rtol=1e-12, atol=0)


def test_exit_probability__two_sides_in_one_dimension():
    net = nn.Sequential(nn.Linear(1, 2), nn.ReLU()).double()
    net[0].weight.data, net[0].bias.data = tensor([[1.0], [-2.0]]), tensor([1.0, 4.0])
    got = density.exit_probability(net, tensor([[0.5]]), 0.7, method="exact")
    assert float(got) == pytest.approx(2 * stats.norm.sf(1.5 / 0.7), rel=1e-12)


@pytest.mark.parametrize("dim", [1, 2])
def test_exit_probability__union_exact_lower_are_ordered(dim):
    for seed in range(4):
        net, x = mlp(seed, dim, 16, 16, 2), points(seed, 10, dim)
        lower, exact, union = (
            density.exit_probability(net, x, SIGMAS, method=m) for m in ("lower", "exact", "union")
        )
        # Relative, down to where Owen's T underflows.
        slack, least = 1 + 1e-12, 1e-300
        assert (lower <= exact * slack + least).all() and (exact <= union * slack + least).all()
        assert (exact.diff(dim=0) >= 0).all()


def test_exit_probability__small_tails_meet_the_nearest_half_space():
    """Far below rounding of one, the exact value still tends to the nearest tail."""
    net, x = mlp(0, 2, 8, 2), points(0, 5, 2, 5.0)
    d = density.exit_probability(net, x, 1e-9, method="lower")  # zero: nothing is that near
    assert (d == 0).all()
    for row in x:
        one = row.unsqueeze(0)
        sigma = 1.0
        while float(density.exit_probability(net, one, sigma, method="lower")) > 1e-40:
            sigma *= 0.9
        lower, exact, union = (
            float(density.exit_probability(net, one, sigma, method=m))
            for m in ("lower", "exact", "union")
        )
        assert 0 < lower <= exact * (1 + 1e-9) <= union * (1 + 2e-9)


def test_exit_probability__agrees_with_sampled_activation_patterns():
    """Independent z-scores, one an input: the sum of squares is chi-square."""
    net, x = mlp(1, 2, 12, 12, 2), points(1, 24, 2)
    sigma, n = 0.15, 4000
    exact = density.exit_probability(net, x, sigma, method="exact")
    generator = seeding.torch_generator(1, "noise")
    left = []
    for row in x:
        noisy = row + sigma * torch.randn(n, 2, dtype=torch.float64, generator=generator)
        codes = activation_pattern(net, noisy) != activation_pattern(net, row[None])
        left.append(codes.any(1).double().mean())
    z = (torch.stack(left) - exact) / (exact * (1 - exact) / n).sqrt()
    assert stats.chi2.sf(float(z.square().sum()), len(x)) > 1e-3


@pytest.mark.parametrize("dim", [1, 2])
def test_exit_probability__rays_are_within_binomial_error_of_exact(dim):
    net, x = mlp(2, dim, 12, 12, 2), points(2, 24, dim)
    exact = density.exit_probability(net, x, 0.15, method="exact")
    generator = seeding.torch_generator(2, "rays")
    rays = density.exit_probability(net, x, 0.15, method="ray", n_rays=4000, generator=generator)
    z = (rays - exact) / (exact * (1 - exact) / 4000).sqrt()
    assert stats.chi2.sf(float(z.square().sum()), len(x)) > 1e-3
    assert stats.kstest(z.numpy(), "norm").pvalue > 1e-3


def test_exit_probability__one_set_of_rays_serves_the_whole_curve():
    net, x = mlp(2, 5, 12, 3), points(2, 4, 5)
    options = {"method": "ray", "n_rays": 200}
    curve = density.exit_probability(
        net, x, SIGMAS, generator=seeding.torch_generator(0), **options
    )
    single = density.exit_probability(
        net, x, float(SIGMAS[3]), generator=seeding.torch_generator(0), **options
    )
    assert torch.equal(curve[3], single) and (curve.diff(dim=0) >= 0).all()


def test_exit_probability__covariance_is_a_change_of_input_coordinates():
    net, x = mlp(3, 2, 12, 2), points(3, 6, 2)
    factor = tensor([[0.8, 0.0], [-0.5, 1.7]])
    whitened = mlp(3, 2, 12, 2)
    whitened[0].weight.data = net[0].weight @ factor
    inner = torch.linalg.solve(factor, x.T).T.contiguous()
    for method in ("lower", "exact", "union", "ray"):
        options = {"method": method, "n_rays": 500}
        got, expected = (
            density.exit_probability(
                model, at, 0.3, generator=seeding.torch_generator(3), covariance=c, **options
            )
            for model, at, c in ((net, x, factor @ factor.T), (whitened, inner, None))
        )
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("on_the_left", [False, True])
def test_exit_probability__tied_pool_belongs_to_the_first_entry(on_the_left):
    """At 0 the entries of max(x, -x) tie; the cell of x is [0, 1], as a unit switches at 1."""
    conv = nn.Conv2d(1, 1, (1, 2), padding=(0, 1), bias=False)  # x -> (w[1] x, w[0] x)
    conv.weight.data = tensor([[[[-1.0, 1.0]]]]) * (-1 if on_the_left else 1)
    shifted = nn.Conv2d(1, 1, 1)
    shifted.weight.data.fill_(1.0), shifted.bias.data.fill_(-1.0)
    net = nn.Sequential(conv, nn.MaxPool2d((1, 2)), shifted, nn.ReLU()).double()
    x = torch.zeros(1, 1, 1, 1, dtype=torch.float64)
    exact = density.exit_probability(net, x, 1.0, method="exact")
    assert float(exact) == pytest.approx(0.5 + stats.norm.sf(1.0), rel=1e-12)
    generator = seeding.torch_generator(0, "tie")
    rays = density.exit_probability(net, x, 1.0, method="ray", generator=generator, n_rays=4000)
    share = round(4000 * float(rays))
    assert stats.binomtest(share, 4000, float(exact)).pvalue > 1e-3


def test_exit_probability__shapes_dtype_and_no_noise():
    net, x = mlp(0, 2, 8, 2).float(), points(0, 5, 2).float()
    for method in ("union", "lower", "exact", "ray"):
        options = {"method": method, "n_rays": 50, "generator": seeding.torch_generator(0)}
        assert density.exit_probability(net, x, 0.1, **options).shape == (5,)
        curve = density.exit_probability(net, x, torch.tensor([0.0, 0.1, 2.0]), **options)
        assert curve.shape == (3, 5) and curve.dtype == torch.float32
        assert (curve[0] == 0).all() and (curve >= 0).all() and (curve <= 1).all()
    affine = nn.Linear(2, 2)
    assert (density.exit_probability(affine, x, 9.0, method="exact") == 0).all()
    assert (density.exit_probability(affine, x, 9.0, method="lower") == 0).all()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"sigma": -0.1}, "sigma must be finite and not negative"),
        ({"sigma": math.nan}, "sigma must be finite"),
        ({"sigma": torch.tensor([0.1, math.nan])}, "sigma must be finite and not negative"),
        ({"sigma": torch.zeros(2, 2)}, "sigma must be a number or a vector"),
        ({"method": "magic"}, "method must be one of 'union', 'lower', 'exact', 'ray'"),
        ({"method": "exact"}, "needs an input of 1 or 2 entries, got 3"),
        ({"method": "ray"}, "generator must be a torch.Generator"),
        ({"covariance": torch.eye(2)}, "covariance must be 3 x 3"),
        ({"covariance": -torch.eye(3)}, "covariance must be symmetric and positive definite"),
        ({"x": torch.full((1, 3), math.nan).double()}, "x must be finite"),
    ],
)
def test_exit_probability__errors_name_the_argument(options, message):
    arguments = {"x": points(0, 2, 3), "sigma": 0.1} | options
    with pytest.raises(ValueError, match=message):
        density.exit_probability(mlp(0, 3, 4, 2), **arguments)


def test_total_variation_bound__is_the_mean_exit_probability():
    net, x = mlp(0, 2, 8, 2), points(0, 7, 2)
    bound = density.total_variation_bound(net, x, SIGMAS, method="exact")
    each = density.exit_probability(net, x, SIGMAS, method="exact")
    torch.testing.assert_close(bound, each.mean(1))


# --- prototype mixture and overlap ------------------------------------------------------------


def test_prototype_mixture__log_density_is_that_of_the_local_gaussians():
    net, x, sigma = mlp(4, 3, 16, 16, 2), points(4, 6, 3), 0.3
    mixture = density.prototype_mixture(net, x, sigma)
    maps, z = local_affine_map(net, x).map, points(5, 20, 2)
    expected = np.mean(
        [
            stats.multivariate_normal(
                net(row[None])[0].detach().numpy(), (sigma**2 * a @ a.T).numpy()
            ).pdf(z.numpy())
            for row, a in zip(x, maps, strict=True)
        ],
        axis=0,
    )
    np.testing.assert_allclose(mixture.log_prob(z).exp().numpy(), expected, rtol=1e-9)


def test_prototype_mixture__refuses_singular_components():
    with pytest.raises(ValueError, match=r"prototype 0 the map from 1 inputs to 2 outputs has ran"):
        density.prototype_mixture(mlp(0, 1, 8, 2), points(0, 3, 1), 0.1)
    with pytest.raises(ValueError, match="sigma must be positive"):
        density.prototype_mixture(mlp(0, 2, 8, 2), points(0, 3, 2), 0.0)


def test_prototype_overlap__two_prototypes_are_exact_and_more_are_bracketed():
    pair = tensor([[0.0, 0.0], [3.0, 4.0]])
    lower, upper = density.prototype_overlap(pair, tensor([0.5, 2.0]))
    expected = tensor(stats.norm.sf([[5.0], [1.25]])).expand(2, 2)
    torch.testing.assert_close(lower, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(upper, expected, rtol=1e-12, atol=0)

    x, sigma, n = points(6, 12, 3), 0.4, 20_000
    lower, upper = density.prototype_overlap(x, sigma)
    generator = seeding.torch_generator(6, "noise")
    noisy = x[:, None] + sigma * torch.randn(12, n, 3, dtype=x.dtype, generator=generator)
    nearest = torch.cdist(noisy.reshape(-1, 3), x).argmin(1).reshape(12, n)
    wrong = (nearest != torch.arange(12)[:, None]).sum(1)
    for k in range(12):
        assert stats.binomtest(int(wrong[k]), n, float(lower[k]), "less").pvalue > 1e-3
        top = min(float(upper[k]), 1.0)
        assert stats.binomtest(int(wrong[k]), n, top, "greater").pvalue > 1e-3


def test_overlap_probability__errors_and_no_noise():
    assert density.overlap_probability(tensor([0.0, 1.0]), 0.0).tolist() == [0.0, 0.0]
    with pytest.raises(ValueError, match="distance must not be negative"):
        density.overlap_probability(tensor([-1.0]), 1.0)
    with pytest.raises(ValueError, match="prototypes must have at least 2 rows"):
        density.prototype_overlap(tensor([[1.0]]), 1.0)


# --- the law on the line ----------------------------------------------------------------------


def test_pushforward_law__absolute_value_is_half_normal():
    law = density.PushforwardLaw1D.from_model(absolute_value(), 0.0, 1.5)
    z = np.linspace(-1, 9, 101)
    np.testing.assert_allclose(law.cdf(z), stats.halfnorm(scale=1.5).cdf(z), atol=1e-15)
    np.testing.assert_allclose(law.pdf(z[11:]), stats.halfnorm(scale=1.5).pdf(z[11:]), rtol=1e-12)
    assert law.mean() == pytest.approx(stats.halfnorm(scale=1.5).mean(), abs=1e-14)
    assert law.variance() == pytest.approx(stats.halfnorm(scale=1.5).var(), abs=1e-14)
    assert law.entropy() == pytest.approx(0.5 * (1 + math.log(math.pi * 1.5**2 / 2)), abs=1e-12)
    assert law.folding_loss() == pytest.approx(math.log(2), abs=1e-12)
    assert abs(law.entropy_identity().residual) < 1e-12


def test_pushforward_law__relu_has_an_atom():
    relu = nn.Sequential(nn.Linear(1, 1, bias=False), nn.ReLU()).double()
    relu[0].weight.data.fill_(1.0)
    law = density.PushforwardLaw1D.from_model(relu, 0.7, 1.1)
    location, mass = law.atoms()
    assert location.tolist() == [0.0]
    assert float(mass) == pytest.approx(stats.norm.cdf(-0.7 / 1.1), abs=1e-15)
    z = tensor([-1e-9, 0.0, 1.0])
    expected = [0.0, stats.norm.cdf(-0.7 / 1.1), stats.norm.cdf(0.3 / 1.1)]
    np.testing.assert_allclose(law.cdf(z).numpy(), expected, atol=1e-15)
    with pytest.raises(
        ValueError, match=r"no differential entropy: its atoms hold a mass of 0\.26"
    ):
        law.entropy()


def test_pushforward_law__several_dead_pieces_make_one_atom():
    net = mlp(9, 1, 8, 8, 3, last=nn.ReLU())
    for coordinate in range(3):
        law = density.PushforwardLaw1D.from_model(net, 0.0, 2.0, coordinate=coordinate)
        assert len(law.atoms().mass) <= 1
        assert float(law.cdf(tensor([60.0 * 38])[0])) == pytest.approx(1.0, abs=1e-14)


def test_pushforward_law__rounding_makes_neither_atoms_nor_slopes():
    regions = SimpleNamespace(
        breakpoints=tensor([0.0, 0.4, 0.6, 1.0]),
        offset=tensor([[0.3], [-1.0], [0.1 + 0.2]]),
        slope=tensor([[0.0], [3.0], [1e-17]]),
    )
    law = density.PushforwardLaw1D.from_regions(regions, 0.5, 0.1)
    location, mass = law.atoms()
    assert location.tolist() == [0.3]
    assert float(mass) == pytest.approx(2 * stats.norm.sf(1.0), abs=1e-15)


def test_pushforward_law__moments_cdf_and_density_agree_with_quadrature():
    net = mlp(5, 1, 8, 8, 1)
    law = density.PushforwardLaw1D.from_model(net, 0.3, 0.8)

    def f(x):
        return float(net(tensor([[x]])).detach())

    def expect(g):
        knots = (0.3 + 0.8 * law.lower[1:]).clamp(-7, 8).unique().tolist()
        ends = [-7.0, *knots, 8.0]
        return sum(
            integrate.quad(lambda x: g(f(x)) * stats.norm.pdf(x, 0.3, 0.8), a, b, limit=50)[0]
            for a, b in itertools.pairwise(ends)
        )

    mean = expect(lambda z: z)
    assert law.mean() == pytest.approx(mean, abs=1e-9)
    assert law.variance() == pytest.approx(expect(lambda z: (z - mean) ** 2), abs=1e-9)
    z, h = np.linspace(-2, 2, 41) + 0.0123, 1e-6
    slope = (law.cdf(z + h) - law.cdf(z - h)) / (2 * h)
    np.testing.assert_allclose(slope, law.pdf(z), rtol=1e-6, atol=1e-8)


def test_pushforward_law__density_where_two_pieces_meet_is_that_of_one():
    leaky = nn.Sequential(nn.LeakyReLU(0.5)).double()
    for sign in (1.0, -1.0):
        scale = nn.Linear(1, 1, bias=False).double()
        scale.weight.data.fill_(sign)
        law = density.PushforwardLaw1D.from_model(nn.Sequential(scale, leaky), 0.0, 1.0)
        at_knot = float(law.pdf(tensor([0.0])))
        sides = [v / math.sqrt(2 * math.pi) for v in (1.0, 2.0)]
        assert any(at_knot == pytest.approx(side, rel=1e-12) for side in sides)


def test_pushforward_law__mixture_is_the_average_of_its_components():
    net, centers = mlp(6, 1, 16, 1), tensor([-1.0, 0.2, 0.9])
    law = density.PushforwardLaw1D.from_model(net, centers, 0.4)
    single = [density.PushforwardLaw1D.from_model(net, float(c), 0.4) for c in centers]
    z = torch.linspace(-4, 4, 50, dtype=torch.float64)
    torch.testing.assert_close(law.cdf(z), sum(s.cdf(z) for s in single) / 3)
    torch.testing.assert_close(law.pdf(z), sum(s.pdf(z) for s in single) / 3)
    assert law.mean() == pytest.approx(np.mean([s.mean() for s in single]), abs=1e-14)
    assert abs(law.entropy_identity().residual) < 1e-9


def test_pushforward_law__is_exact_against_samples():
    """200 independent KS tests are uniform; the untruncated Gaussian is rejected in each."""
    net, n = mlp(7, 1, 16, 16, 1, slope=0.2), 2000
    law = density.PushforwardLaw1D.from_model(net, 0.2, 1.0)
    local = density.PushforwardLaw1D.gaussian_mixture(
        net(tensor([[0.2]])).detach()[0], local_affine_map(net, tensor([[0.2]])).map[0, 0].abs()
    )
    exact, naive = [], []
    for seed in range(200):
        x = 0.2 + seeding.numpy_generator(seed, "law").normal(size=(n, 1))
        z = net(torch.from_numpy(x)).detach().numpy()[:, 0]
        exact.append(stats.kstest(z, law.cdf).pvalue)
        naive.append(stats.kstest(z, local.cdf).pvalue)
    assert meta_ks(exact) > 1e-3
    assert np.max(naive) < 1e-3


def test_pushforward_law__atom_and_the_rest_are_exact_against_samples():
    net, n = mlp(8, 1, 16, 16, 1, last=nn.ReLU()), 20_000
    law = density.PushforwardLaw1D.from_model(net, 0.0, 1.0)
    (mass,) = law.atoms().mass.tolist()
    assert 0.05 < mass < 0.95
    pvalues, atoms = [], 0
    for seed in range(40):
        x = seeding.numpy_generator(seed, "atom").normal(size=(n // 20, 1))
        z = net(torch.from_numpy(x)).detach().numpy()[:, 0]
        atoms += int((z == 0).sum())
        pvalues.append(stats.kstest(z[z > 0], lambda v: (law.cdf(v) - mass) / (1 - mass)).pvalue)
    assert stats.binomtest(atoms, 40 * n // 20, mass).pvalue > 1e-3
    assert meta_ks(pvalues) > 1e-3


def test_entropy_identity__holds_for_folding_networks():
    for seed in range(4):
        law = density.PushforwardLaw1D.from_model(mlp(seed, 1, 12, 12, 1, slope=0.1), 0.1, 0.9)
        identity = law.entropy_identity()
        assert abs(identity.residual) < 1e-9
        assert identity.folding_loss >= 0
    # A second quadrature, adaptive, between the images of the kinks.
    law = density.PushforwardLaw1D.from_model(mlp(0, 1, 12, 12, 1, slope=0.1), 0.1, 0.9)
    ends = torch.cat([law.lower[1:], tensor([-9.0, 9.0])]).sort().values.clamp(-9, 9)
    which = torch.searchsorted(law.upper, ends).clamp_max(len(law.upper) - 1)
    edges = np.unique((law.offset[which] + law.slope[which] * ends).numpy())

    def integrand(z):
        p = float(law.pdf(np.array([z]))[0])
        return -p * math.log(p) if p > 0 else 0.0

    value = sum(
        integrate.quad(integrand, a, b, limit=200, epsabs=1e-12)[0]
        for a, b in itertools.pairwise(edges)
    )
    assert law.entropy() == pytest.approx(value, abs=1e-9)


def test_folding_loss__is_positive_where_a_network_folds():
    law = density.PushforwardLaw1D.from_model(absolute_value(), 0.5, 1.0)

    # The posterior of the sign given |x| is logistic in 2 m |x| / sigma^2.
    def hidden(z):
        p = 1 / (1 + math.exp(-2 * 0.5 * z))
        surprise = sum(-q * math.log(q) if q > 0 else 0.0 for q in (p, 1 - p))
        return surprise * float(law.pdf(np.array([z]))[0])

    expected = integrate.quad(hidden, 0, 12, epsabs=1e-13)[0]
    assert law.folding_loss() == pytest.approx(expected, abs=1e-11)


def test_pushforward_law__errors_name_the_argument():
    net = mlp(0, 1, 4, 1)
    with pytest.raises(ValueError, match="std must be positive"):
        density.PushforwardLaw1D.from_model(net, 0.0, 0.0)
    with pytest.raises(ValueError, match="coordinate must be below 1, got 1"):
        density.PushforwardLaw1D.from_model(net, 0.0, 1.0, coordinate=1)
    with pytest.raises(ValueError, match="mean must be finite"):
        density.PushforwardLaw1D.from_model(net, math.nan, 1.0)
    with pytest.raises(ValueError, match="std must be 2 numbers"):
        density.PushforwardLaw1D.gaussian_mixture(tensor([0.0, 1.0]), tensor([1.0, -1.0]))


# --- the law on the plane ---------------------------------------------------------------------


def plane(net, half_width=9.0):
    return enumerate_regions_2d(net, ZERO, EYE, half_width)


def plane_case(name):
    """A network's cells over a plane of inputs, and its map from plane to output."""
    if name == "max-pool":
        net, origin, basis = pooled(14), points(14, 16, 1), points(15, 32, 1)
        origin, basis = origin.reshape(1, 4, 4), basis.reshape(2, 1, 4, 4)
        regions = enumerate_regions_2d(net, origin, basis, 9.0)
        return regions, lambda s: net(origin + torch.tensordot(s, basis, 1)).detach()
    net = {
        "full rank": lambda: mlp(11, 2, 16, 16, 2, slope=0.2),
        "bottleneck": lambda: mlp(12, 2, 16, 1, 16, 2),
        # The first seed from 13 on whose cells of rank 0, 1 and 2 all hold a mass above .05.
        "dead units": lambda: mlp(18, 2, 16, 16, 2, last=nn.ReLU()),
    }[name]()
    return plane(net), lambda s: net(s).detach()


class Bins:
    """Bins of the output with their exact masses; those that expect under 5 of `n` are pooled."""

    def __init__(self, regions, f, n):
        pilot = f(points(99, 4000, 2))
        self.edges = [self._edges(pilot[:, k]) for k in range(2)]
        self.mass = density.pushforward_bin_probabilities(regions, ZERO, EYE, *self.edges)
        self.common = (n * self.mass > 5).flatten()
        self.expected = n * self._pool(self.mass.flatten())

    @staticmethod
    def _edges(pilot):
        """Quantiles of a pilot sample, moved a little so that none sits on an atom."""
        inner = torch.quantile(pilot, torch.linspace(0.02, 0.98, 11, dtype=torch.float64))
        infinity = tensor([math.inf])
        return torch.cat([-infinity, inner.unique() + 1.234e-7, infinity])

    def _pool(self, cells):
        pooled = torch.cat([cells[self.common], cells[~self.common].sum()[None]])
        return pooled if float(self.mass.flatten()[~self.common].sum()) > 1e-9 else pooled[:-1]

    def pvalue(self, z):
        """P-value of the chi-square test of outputs against the exact masses."""
        x, y = (torch.bucketize(z[:, k].contiguous(), self.edges[k]) - 1 for k in range(2))
        flat = x * (len(self.edges[1]) - 1) + y
        counts = self._pool(torch.bincount(flat, minlength=self.mass.numel()))
        assert int(counts.sum()) == len(z)
        return stats.chisquare(counts.numpy(), self.expected.numpy(), sum_check=False).pvalue


@pytest.mark.parametrize("name", ["full rank", "bottleneck", "dead units", "max-pool"])
def test_pushforward_bin_probabilities__are_exact_against_samples(name):
    regions, f = plane_case(name)
    n = 5000
    bins = Bins(regions, f, n)
    assert abs(float(bins.mass.sum()) - 1) < 1e-12
    pvalues = [bins.pvalue(f(points(1000 + seed, n, 2))) for seed in range(60)]
    assert meta_ks(pvalues) > 1e-3


def test_pushforward_bin_probabilities__cases_cover_every_rank():
    for name, ranks in (("full rank", {2}), ("bottleneck", {0, 1}), ("dead units", {0, 1, 2})):
        regions, _ = plane_case(name)
        mass = gaussian_measure.polygon_probabilities(regions.vertices, regions.offsets, ZERO, EYE)
        rank = torch.linalg.matrix_rank(regions.maps()[0], atol=1e-12, rtol=0.0)
        assert {k for k in range(3) if mass[rank == k].sum() > 0.05} == ranks


def test_pushforward_bin_probabilities__reject_the_gaussian_that_is_not_truncated():
    regions, f = plane_case("full rank")
    bins = Bins(regions, f, 5000)
    net = mlp(11, 2, 16, 16, 2, slope=0.2)
    a, center = local_affine_map(net, ZERO[None]).map[0], f(ZERO[None])
    pvalues = [bins.pvalue(center + points(2000 + seed, 5000, 2) @ a.T) for seed in range(10)]
    assert max(pvalues) < 1e-3


def test_pushforward_bin_probabilities__network_of_one_input_matches_the_law_on_the_line():
    narrow = mlp(15, 1, 16, 16, 1, last=nn.ReLU())
    wide = mlp(15, 2, 16, 16, 1, last=nn.ReLU())
    wide.load_state_dict(narrow.state_dict() | {"0.weight": wide[0].weight})
    direction = tensor([[0.6, 0.8]])
    wide[0].weight.data = narrow[0].weight @ direction
    law = density.PushforwardLaw1D.from_model(narrow, 0.3, 1.0)
    edges = torch.linspace(-0.05, 4, 30, dtype=torch.float64)
    mean = 0.3 * direction[0]
    got = density.pushforward_bin_probabilities(plane(wide, 10.0), mean, EYE, edges)
    torch.testing.assert_close(got, law.cdf(edges).diff(), rtol=0, atol=1e-12)


def test_pushforward_density__affine_network_is_gaussian():
    net = mlp(16, 2, 2)
    mean, covariance = tensor([0.3, -0.2]), tensor([[0.5, 0.2], [0.2, 0.4]])
    z = net(points(16, 50, 2)).detach()
    got = density.pushforward_density_2d(plane(net), mean, covariance, z)
    a, center = net[0].weight.detach(), net(mean[None]).detach()[0]
    expected = stats.multivariate_normal(center.numpy(), (a @ covariance @ a.T).numpy()).pdf(z)
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-10)


def test_pushforward_density__folding_in_both_coordinates():
    """z = (|x|, |y|): four preimages each, an exact product of folded normals."""
    net = nn.Sequential(nn.Linear(2, 4, bias=False), nn.ReLU(), nn.Linear(4, 2, bias=False))
    net = net.double()
    net[0].weight.data = tensor([[1, 0], [-1, 0], [0, 1], [0, -1]])
    net[2].weight.data = tensor([[1, 1, 0, 0], [0, 0, 1, 1]])
    z = points(17, 40, 2).abs()
    mean = tensor([0.4, -0.9])
    got = density.pushforward_density_2d(plane(net, 10.0), mean, EYE, z)
    expected = stats.foldnorm(0.4).pdf(z[:, 0]) * stats.foldnorm(0.9).pdf(z[:, 1])
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-11)
    assert float(density.pushforward_density_2d(plane(net, 10.0), mean, EYE, -z).sum()) == 0.0


def test_pushforward_density__several_means_average():
    regions, f = plane_case("full rank")
    means, z = points(19, 3, 2, 0.5), f(points(20, 30, 2, 0.5))
    got = density.pushforward_density_2d(regions, means, 0.5 * EYE, z)
    single = [density.pushforward_density_2d(regions, m, 0.5 * EYE, z) for m in means]
    torch.testing.assert_close(got, sum(single) / 3, rtol=1e-12, atol=0)


def test_pushforward_density__integrates_to_the_bin_masses():
    (regions, _), n = plane_case("full rank"), 20_000
    edges = tensor([-1.0, 0.0, 1.0, 2.0])
    mass = density.pushforward_bin_probabilities(regions, ZERO, EYE, edges, edges)
    generator = seeding.torch_generator(18, "uniform")
    z = 3 * torch.rand(n, 2, dtype=torch.float64, generator=generator) - 1
    p = 9 * density.pushforward_density_2d(regions, ZERO, EYE, z)
    score = (p.mean() - mass.sum()) / (p.std() / n**0.5)
    assert 2 * stats.norm.sf(abs(float(score))) > 1e-3


def test_pushforward_density__a_map_that_rounding_left_is_no_map():
    """Each output is |x| for x < 0 and rounding for x > 0: one cell of four has a real density."""
    net = nn.Sequential(nn.Linear(2, 4, bias=False), nn.ReLU(), nn.Linear(4, 2, bias=False))
    net[0].weight.data = torch.cat([EYE, -EYE])
    net[2].weight.data = torch.cat([1e-17 * EYE, EYE], 1)
    regions = enumerate_regions_2d(net, ZERO, EYE, 10.0)
    z = tensor([[0.5, 0.5], [1e-17, 1e-17]])
    with pytest.raises(ValueError, match="3 of 4 regions"):
        density.pushforward_density_2d(regions, ZERO, EYE, z)
    found = density.pushforward_density_2d(regions, ZERO, EYE, z, continuous_part=True)
    expected = torch.exp(-0.5 * z.square().sum(1)) / (2 * math.pi)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


def test_pushforward_density__errors_name_what_is_wrong():
    net, z = mlp(13, 2, 16, 16, 2, last=nn.ReLU()), points(0, 3, 2)
    with pytest.raises(ValueError, match=r"have a map of rank below 2; use pushforward_bin"):
        density.pushforward_density_2d(plane(net), ZERO, EYE, z)
    assert (
        density.pushforward_density_2d(plane(net), ZERO, EYE, z, continuous_part=True)
        .isfinite()
        .all()
    )
    with pytest.raises(
        ValueError, match=r"regions must cover the input's law, but hold only 0\.46"
    ):
        density.pushforward_bin_probabilities(plane(net, 1.0), ZERO, EYE, *tensor([[0, 1], [0, 1]]))
    with pytest.raises(ValueError, match="edges_x must increase"):
        density.pushforward_bin_probabilities(plane(net), ZERO, EYE, tensor([1, 0]))
    with pytest.raises(ValueError, match="regions must have 1 outputs"):
        density.pushforward_bin_probabilities(plane(net), ZERO, EYE, tensor([0, 1]))
    with pytest.raises(ValueError, match="z must have 2 outputs, got 2 and 3"):
        density.pushforward_density_2d(plane(net), ZERO, EYE, points(0, 3, 3))


# --- total variation --------------------------------------------------------------------------


def test_total_variation_1d__absolute_value_attains_the_bound():
    for m, sigma in [(2.0, 1.0), (1.0, 1.0), (0.3, 1.0), (0.02, 0.01), (5.0, 1.3)]:
        value = density.total_variation_1d(absolute_value(), tensor([[m]]), sigma)
        assert value == pytest.approx(stats.norm.cdf(-m / sigma), abs=1e-9)


def test_law_total_variation__normal_laws_have_closed_forms():
    """Sign changes fall at generic places, away from the ends of the panels."""
    first = density.PushforwardLaw1D.gaussian_mixture(tensor([0.0]), tensor([1.0]))
    shifted = density.PushforwardLaw1D.gaussian_mixture(tensor([0.937]), tensor([1.0]))
    expected = 2 * stats.norm.cdf(0.937 / 2) - 1
    assert density.law_total_variation(first, shifted) == pytest.approx(expected, abs=1e-14)
    wide = density.PushforwardLaw1D.gaussian_mixture(tensor([0.0]), tensor([1.731]))
    cut = math.sqrt(2 * math.log(1.731) / (1 - 1 / 1.731**2))
    expected = 2 * (stats.norm.cdf(cut) - stats.norm.cdf(cut / 1.731))
    assert density.law_total_variation(first, wide) == pytest.approx(expected, abs=1e-14)
    assert density.law_total_variation(wide, first) == pytest.approx(expected, abs=1e-14)
    assert density.law_total_variation(first, first) == 0.0


def test_law_total_variation__atoms_that_differ_by_rounding_are_one():
    point, moved, apart = (
        density.PushforwardLaw1D.gaussian_mixture(tensor([place]), tensor([0.0]))
        for place in (0.3, 0.1 + 0.2, 0.3 + 1e-6)
    )
    assert density.law_total_variation(point, moved) == 0.0
    assert density.law_total_variation(point, apart) == 1.0


def test_total_variation_1d__affine_network_has_none_and_atoms_count():
    assert density.total_variation_1d(mlp(0, 1, 1), points(0, 4, 1), 0.7) < 1e-14
    relu = nn.Sequential(nn.Linear(1, 1, bias=False), nn.ReLU()).double()
    relu[0].weight.data.fill_(1.0)
    for m in (1.5, -1.5):  # in the dead half the mixture is a point mass
        value = density.total_variation_1d(relu, tensor([[m]]), 1.0)
        assert value == pytest.approx(stats.norm.cdf(-1.5), abs=1e-12)


def test_total_variation_1d__agrees_with_quadrature():
    net, x, sigma = mlp(7, 1, 8, 8, 1, slope=0.2), points(7, 5, 1), 0.3
    p = density.PushforwardLaw1D.from_model(net, x[:, 0], sigma)
    q = density.prototype_mixture(net, x, sigma)
    z = torch.linspace(-20, 20, 400_001, dtype=torch.float64)
    gap = (p.pdf(z) - q.log_prob(z[:, None]).exp()).abs()
    value = float(torch.trapezoid(gap, z)) / 2
    got = density.total_variation_1d(net, x, sigma)
    # Each jump of p costs the trapezoid rule at most its height times a step of 1e-4.
    jumps = len(p.slope) * float(p.pdf(z).amax()) * 1e-4
    assert abs(got - value) < jumps and jumps < 0.05


@pytest.mark.parametrize("seed", range(4))
def test_total_variation_1d__never_exceeds_the_exact_exit_probability(seed):
    net, x = mlp(20 + seed, 1, 16, 16, 1), points(seed, 20, 1)
    bound = density.total_variation_bound(net, x, SIGMAS, method="exact")
    value = tensor([density.total_variation_1d(net, x, float(s)) for s in SIGMAS])
    assert (value <= bound + 1e-12).all() and float(value[-1]) > 0.01


def test_total_variation_2d__fold_attains_the_bound_and_affine_has_none(generator):
    net = nn.Sequential(nn.Linear(2, 4, bias=False), nn.ReLU(), nn.Linear(4, 2, bias=False))
    net = net.double()
    net[0].weight.data = tensor([[1, 0], [-1, 0], [0, 1], [0, -1]])
    net[2].weight.data = tensor([[1, 1, 0, 0], [0, 0, 1, -1]])  # (|x|, y)
    tv = density.total_variation_2d(net, tensor([[0.8, 0.1]]), 1.0, generator=generator)
    z = (tv.estimate - stats.norm.sf(0.8)) / tv.standard_error
    assert 2 * stats.norm.sf(abs(z)) > 1e-3
    # Prototypes that share y: the second coordinate adds nothing to the distance on the line.
    x = tensor([[0.8], [-0.3], [0.4]])
    expected = density.total_variation_1d(absolute_value(), x, 0.7)
    tv = density.total_variation_2d(net, torch.cat([x, 0 * x + 0.1], 1), 0.7, generator=generator)
    z = (tv.estimate - expected) / tv.standard_error
    assert 2 * stats.norm.sf(abs(z)) > 1e-3
    affine = density.total_variation_2d(
        mlp(1, 2, 2), points(0, 3, 2), 0.5, generator=generator, n_samples=500
    )
    assert affine.estimate < 1e-10


def test_total_variation_2d__is_below_the_exit_probability_and_first_layer_exit_is_no_bound():
    net, x = mlp(30, 2, 4, 32, 32, 2, slope=0.1), points(30, 20, 2)
    sigmas = tensor([0.02, 0.05, 0.2])
    bound = density.total_variation_bound(net, x, sigmas, method="exact")
    # Control: a cell of the first layer alone is too large, and its exit probability too small.
    first_layer = density.total_variation_bound(net[:2], x, sigmas, method="exact")
    violated = []
    for k, sigma in enumerate(sigmas.tolist()):
        tv = density.total_variation_2d(
            net, x, sigma, generator=seeding.torch_generator(k, "tv"), n_samples=10_000
        )
        assert tv.estimate <= float(bound[k]) + 3.1 * tv.standard_error
        violated.append(tv.estimate > float(first_layer[k]) + 3.1 * tv.standard_error)
    assert any(violated)


def test_total_variation__errors_name_the_argument(generator):
    with pytest.raises(ValueError, match=r"prototypes must have shape \(N, 1\)"):
        density.total_variation_1d(mlp(0, 2, 4, 1), points(0, 2, 2), 0.1)
    with pytest.raises(ValueError, match=r"prototypes must have shape \(N, 2\)"):
        density.total_variation_2d(mlp(0, 3, 4, 2), points(0, 2, 3), 0.1, generator=generator)
    with pytest.raises(ValueError, match="n_samples must be at least 2"):
        density.total_variation_2d(
            mlp(0, 2, 2), points(0, 2, 2), 0.1, generator=generator, n_samples=1
        )
    with pytest.raises(ValueError, match="sigma must be positive"):
        density.plane_regions(mlp(0, 2, 2), points(0, 2, 2), -0.1)
    with pytest.raises(ValueError, match=r"prototypes must have shape \(N, 2\), got \(2, 3\)"):
        density.plane_regions(mlp(0, 3, 2), points(0, 2, 3), 0.1)

"""Tests of the estimators from samples: nearest neighbours and kernel density."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from vcreg_theory import seeding
from vcreg_theory.entropy import kde_entropy, knn_entropy, neighbours
from vcreg_theory.stats import mean_interval

# Entropy of one coordinate; draws of unit scale from uniform numbers.
LAWS = {
    "Gaussian": (
        0.5 * math.log(2 * math.pi * math.e),
        lambda u: math.sqrt(2) * torch.erfinv(2 * u - 1),
    ),
    "uniform": (0.0, lambda u: u),
    "Laplace": (1 + math.log(2), lambda u: torch.where(u < 0.5, (2 * u).log(), -(2 - 2 * u).log())),
}


def _uniform(generator, n, d):
    return torch.rand(n, d, generator=generator, dtype=torch.float64).clamp_(1e-15, 1 - 1e-15)


def _codes(generator, n=30, d=3, dtype=torch.float64):
    return torch.randn(n, d, generator=generator, dtype=dtype)


def _reference(z, k):
    """The definition with sorted rows of all distances by differences."""
    n, d = z.shape
    distances = (z[:, None] - z[None]).norm(dim=2)
    radius = distances.sort(dim=1).values[:, k]  # place 0 is the sample itself
    log_ball = d / 2 * math.log(math.pi) - special.gammaln(d / 2 + 1)
    constant = special.digamma(n) - special.digamma(k) + log_ball
    return constant + d * radius.log().mean().item()


def test_knn_entropy__closed_form(search):
    # On the integers every nearest distance is 1, except to the second neighbour at the two ends.
    z = torch.arange(10.0, dtype=torch.float64)[:, None]
    first = special.digamma(10) - special.digamma(1) + math.log(2)
    assert knn_entropy(z, 1).item() == pytest.approx(first, abs=1e-14)
    second = special.digamma(10) - special.digamma(2) + math.log(2) + 0.2 * math.log(2)
    assert knn_entropy(z, 2).item() == pytest.approx(second, abs=1e-14)


@pytest.mark.parametrize(("law", "d"), [*itertools.product(("Gaussian", "Laplace"), (1, 2, 3)),
                                        ("uniform", 1), ("uniform", 2)])  # fmt: skip
def test_knn_entropy__within_a_twentieth_of_the_truth(law, d):
    # n = 2000 and k = 3. If the bias is within 0.05 the interval misses that range with a
    # probability of 5e-4 at most.
    entropy, draw = LAWS[law]
    generator = seeding.torch_generator(d, law)
    errors = [
        knn_entropy(draw(_uniform(generator, 2000, d))).item() - d * entropy for _ in range(60)
    ]
    interval = mean_interval(errors, 0.999)
    assert interval.low <= 0.05 and interval.high >= -0.05
    assert interval.high - interval.low < 0.05  # narrow enough to say something


def test_knn_entropy__bias_at_the_faces_of_a_cube():
    # In three dimensions 40 % of the balls cross a face, and the estimate is 0.10 too high. The
    # part of each ball inside the cube explains it: the truth is met once its logarithm is added.
    generator = seeding.torch_generator(0, "cube")
    ball = _codes(generator, 256)
    ball *= _uniform(generator, 256, 1) ** (1 / 3) / ball.norm(dim=1, keepdim=True)
    raw, corrected = [], []
    for _ in range(12):
        z = _uniform(generator, 2000, 3)
        radius = torch.cdist(z, z).kthvalue(4, dim=1).values
        points = z[:, None] + radius[:, None, None] * ball
        inside = ((points > 0) & (points < 1)).all(2).double().mean(1)
        raw.append(knn_entropy(z).item())
        corrected.append(raw[-1] + inside.log().mean().item())
    assert mean_interval(raw, 0.999).low > 0.05
    interval = mean_interval(corrected, 0.999)
    assert interval.low <= 0.05 and interval.high >= -0.05


@pytest.fixture(params=["tree", "pairs"])
def search(request, monkeypatch):
    """The tree where there is one, or all pairs, as on every other device."""
    if request.param == "pairs":
        monkeypatch.setattr(neighbours, "_TREE_DIMENSIONS", 0)
    return request.param


@pytest.mark.parametrize("k", [1, 3, 7])
@pytest.mark.parametrize(("n", "d"), [(50, 1), (50, 3), (40, 20), (8, 2)])
def test_knn_entropy__is_the_definition(generator, monkeypatch, search, n, d, k):
    z = _codes(generator, n, d)
    for pairs in (2**19, 7 * n, 1):
        monkeypatch.setattr(neighbours, "_PAIRS_AT_ONCE", pairs)
        # Distances of a line of 50 are 1e-6 and more, and codes round by 1e-16.
        assert knn_entropy(z, k).item() == pytest.approx(_reference(z, k), abs=1e-9)


@pytest.mark.parametrize("d", [2, 16])
def test_knn_entropy__distant_clusters_keep_their_digits(generator, search, d):
    # Clusters 1e6 apart with spacings of 1e-4: squared distances from a product would round by
    # 1e-3, ten thousand times what they are.
    z = 1e-4 * _codes(generator, 60, d)
    z[::2] += 1e6
    centre = z[0].clone()
    assert knn_entropy(z).item() == pytest.approx(_reference(z, 3), abs=1e-11)
    squares = neighbours.product_squares(z - centre, z - centre)
    assert squares.fill_diagonal_(math.inf).min() < 1e-10  # control: the product has lost them


@given(seed=st.integers(0, 2**31), scale=st.floats(1e-100, 1e100), d=st.sampled_from([1, 3, 12]))
def test_knn_entropy__equivariant(seed, scale, d):
    generator = seeding.torch_generator(seed, "tests")
    z = _codes(generator, 20, d)
    rotation = torch.linalg.qr(_codes(generator, d, d)).Q
    found = knn_entropy(scale * (z @ rotation + 3.0)) - knn_entropy(z)
    # The offset rounds each code by 1e-15; one pair in a line of 20 may be as close as 1e-6.
    assert found.item() == pytest.approx(d * math.log(scale), rel=1e-14, abs=1e-8)


@pytest.mark.parametrize("d", [1, 3, 12])
def test_knn_entropy__gradient(generator, search, d):
    z = _codes(generator, 12, d).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: knn_entropy(x, 2), z)
    (gradient,) = torch.autograd.grad(knn_entropy(z), z)
    assert (z * gradient).sum().item() == pytest.approx(d, abs=1e-9)
    (near,) = torch.autograd.grad(knn_entropy(1e-6 * z), z)  # in z the same: 1e6 larger in 1e-6 z
    torch.testing.assert_close(near, gradient, rtol=1e-8, atol=1e-8)


def test_knn_entropy__counts_the_duplicates(generator, search):
    z = _codes(generator, 20)
    z[1], z[2] = z[0], z[0]
    assert torch.isfinite(knn_entropy(z, 3))  # three equal rows have a third neighbour elsewhere
    with pytest.raises(
        ValueError, match=r"at most 2 equal rows, got 3 of 20 rows at distance zero"
    ):
        knn_entropy(z, 2)
    with pytest.raises(ValueError, match="got 3 of 20"):
        knn_entropy(torch.cat([z, 1e8 + _codes(generator, 0)]), 1)
    with pytest.raises(ValueError, match="got 9 of 9"):
        knn_entropy(torch.full((9, 16), 0.1))


def test_knn_entropy__dtypes(generator):
    z = _codes(generator, 200, 10).float() + 50.0
    found = knn_entropy(z)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(knn_entropy(z.double()).item(), rel=1e-6)
    with torch.autocast("cpu", torch.bfloat16):
        assert knn_entropy(z) == found
    assert knn_entropy(z[:20].half()).dtype == torch.float32


@pytest.mark.parametrize(
    ("z", "k", "error", "message"),
    [
        (torch.eye(3), 3, ValueError, "k must be below the number of samples 3, got 3"),
        (torch.eye(3), 0, ValueError, "k must be at least 1"),
        (torch.eye(3), 1.0, TypeError, "k must be an integer"),
        (torch.zeros(1, 3), 1, ValueError, "at least 2 rows"),
        (torch.full((3, 3), math.nan), 1, ValueError, "9 NaN or infinite"),
        (torch.eye(3).long(), 1, TypeError, "float32 or float64"),
    ],
)
def test_knn_entropy__refuses_bad_input(z, k, error, message):
    with pytest.raises(error, match=message):
        knn_entropy(z, k)


def _kde_reference(z, bandwidth):
    """The definition, one sample at a time."""
    n = len(z)
    law = torch.distributions.Normal(z.new_tensor(0.0), bandwidth)
    terms = [
        law.log_prob(z[i] - z[torch.arange(n) != i]).sum(1).logsumexp(0) - math.log(n - 1)
        for i in range(n)
    ]
    return -torch.stack(terms).mean()


@pytest.mark.parametrize("bandwidth", [1e-3, 0.3, 10.0])
@pytest.mark.parametrize(("n", "d"), [(2, 1), (25, 3), (25, 20)])
def test_kde_entropy__is_the_definition(generator, n, d, bandwidth):
    z = _codes(generator, n, d)
    expected = _kde_reference(z, bandwidth)
    # With a narrow kernel exponents reach 1e7, whose own rounding is relative.
    torch.testing.assert_close(kde_entropy(z, bandwidth), expected, rtol=1e-13, atol=1e-9)
    torch.testing.assert_close(kde_entropy(z + 1e5, bandwidth), expected, rtol=1e-7, atol=1e-6)


def test_kde_entropy__distant_clusters_keep_their_digits(generator):
    # Clusters 1e6 apart with spacings and kernels of 1e-4; even the centred codes would round a
    # difference by 1e-10, its exponent by 1e-6.
    z = 1e-4 * _codes(generator, 30)
    z[::2] += 1e6
    torch.testing.assert_close(kde_entropy(z, 1e-4), _kde_reference(z, 1e-4), rtol=0, atol=1e-9)


def test_kde_entropy__tiles_do_not_show(generator, monkeypatch):
    z = _codes(generator, 23).requires_grad_()
    whole = kde_entropy(z, 0.3), *torch.autograd.grad(kde_entropy(z, 0.3), z)
    for side in (1, 5, 22):
        monkeypatch.setattr("vcreg_theory.entropy.kernel._SIDE", side)
        found = kde_entropy(z, 0.3), *torch.autograd.grad(kde_entropy(z, 0.3), z)
        torch.testing.assert_close(found, whole, rtol=1e-12, atol=1e-13)


def test_kde_entropy__biased_upwards_by_the_divergence():
    # Samples N(0, 1), bandwidth h: the expected density estimate is N(0, 1 + h^2), so the mean is
    # at least H + KL(N(0, 1) | N(0, 1 + h^2)) by Jensen, above H. One-sided at 3.3 standard
    # errors: 5e-4 for a fresh seed.
    generator = seeding.torch_generator(0, "kde")
    entropy = LAWS["Gaussian"][0]
    for h in (0.1, 0.5, 1.5):
        floor = entropy + 0.5 * (1 / (1 + h * h) - 1 + math.log(1 + h * h))
        found = torch.stack([kde_entropy(_codes(generator, 100, 1), h) for _ in range(100)])
        assert found.mean() + 3.3 * found.std() / 10 > floor
        assert found.mean() - 3.3 * found.std() / 10 > entropy or floor - entropy < 0.05


def test_kde_entropy__equivariant_with_its_bandwidth(generator):
    z = _codes(generator)
    rotation = torch.linalg.qr(_codes(generator, 3, 3)).Q
    found = kde_entropy(7.0 * (z @ rotation) - 2.0, 7 * 0.4) - kde_entropy(z, 0.4)
    assert found.item() == pytest.approx(3 * math.log(7), abs=1e-10)
    # Control: at a fixed bandwidth it is not equivariant.
    assert abs((kde_entropy(7.0 * z, 0.4) - kde_entropy(z, 0.4)).item() - 3 * math.log(7)) > 1


@pytest.mark.parametrize("bandwidth", [0.02, 0.5])
def test_kde_entropy__gradcheck(generator, bandwidth):
    z = _codes(generator, 8).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: kde_entropy(x, bandwidth), z)


def test_kde_entropy__collapse_is_stationary_and_an_outlier_finite():
    z = torch.full((6, 2), 0.1, requires_grad=True)
    kde_entropy(z, 0.5).backward()
    assert z.grad.abs().max() == 0
    far = torch.tensor([[0.0], [0.1], [1e4]], requires_grad=True)
    value = kde_entropy(far, 0.1)  # a kernel of exp(-5e9), which underflows
    value.backward()
    assert value > 1e9 and torch.isfinite(far.grad).all()


def test_kde_entropy__dtypes(generator):
    z = _codes(generator, 60).float()
    found = kde_entropy(z, 0.3)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(kde_entropy(z.double(), 0.3).item(), rel=1e-6)
    with torch.autocast("cpu", torch.bfloat16):
        assert kde_entropy(z, 0.3) == found


@pytest.mark.parametrize(
    ("z", "bandwidth", "error", "message"),
    [
        (torch.eye(3), 0.0, ValueError, "bandwidth must be positive"),
        (torch.eye(3), 1e-200, ValueError, "bandwidth must not be so small"),
        (torch.eye(3), None, TypeError, "bandwidth must be a real number"),
        (torch.zeros(1, 3), 1.0, ValueError, "at least 2 rows"),
        (torch.full((3, 3), math.nan), 1.0, ValueError, "9 NaN or infinite"),
    ],
)
def test_kde_entropy__refuses_bad_input(z, bandwidth, error, message):
    with pytest.raises(error, match=message):
        kde_entropy(z, bandwidth)

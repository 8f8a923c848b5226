"""The entropy estimators beside SciPy's and scikit-learn's, on the same numbers."""

import math

import pytest
import torch
from scipy import special, stats
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity, NearestNeighbors
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from vcreg_theory.entropy import (
    effective_rank,
    kde_entropy,
    knn_entropy,
    logdet_entropy,
    pairwise_entropy_bounds,
    whiten,
)
from vcreg_theory.stats import mean_interval


def _codes(generator, n, d):
    return torch.randn(n, d, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("d", [1, 4, 9])
def test_logdet_entropy__is_that_of_scipys_normal(generator, d):
    # Whitened codes given a covariance have exactly that sample covariance.
    root = _codes(generator, d, d) + 2 * torch.eye(d, dtype=torch.float64)
    z = whiten(_codes(generator, 40, d)) @ root
    law = stats.multivariate_normal(cov=(root.T @ root).numpy())
    tolerance = 1e-13 * torch.linalg.cond(root).item() ** 2
    assert logdet_entropy(z).item() == pytest.approx(law.entropy(), abs=tolerance)


@pytest.mark.parametrize(("n", "d", "k"), [(300, 1, 1), (300, 3, 3), (200, 32, 5)])
def test_knn_entropy__from_the_distances_of_scikit_learn(generator, n, d, k):
    z = _codes(generator, n, d)
    search = NearestNeighbors(n_neighbors=k + 1, algorithm="kd_tree").fit(z.numpy())
    radius = torch.from_numpy(search.kneighbors(z.numpy())[0][:, k])
    ball = d / 2 * math.log(math.pi) - special.gammaln(d / 2 + 1)
    expected = special.digamma(n) - special.digamma(k) + ball + d * radius.log().mean().item()
    assert knn_entropy(z, k).item() == pytest.approx(expected, abs=1e-12)


def test_knn_entropy__agrees_with_scipys_spacing_estimators(generator):
    # Different estimators of one number: the mean difference over samples of the Laplace law is
    # within their biases at n = 2000, 0.05 for either, at 3.3 standard errors.
    for method in ("vasicek", "van es", "ebrahimi", "correa"):
        differences = []
        for _ in range(10):
            u = torch.rand(2000, 1, generator=generator, dtype=torch.float64).clamp(1e-9, 1 - 1e-9)
            z = torch.where(u < 0.5, (2 * u).log(), -(2 - 2 * u).log())
            peer = stats.differential_entropy(z.numpy()[:, 0], method=method)
            differences.append(knn_entropy(z).item() - peer)
        interval = mean_interval(differences, 0.999)
        assert interval.low < 0.1 and interval.high > -0.1


def test_kde_entropy__from_the_densities_of_scikit_learn(generator):
    z = _codes(generator, 25, 3)
    scores = []
    for i in range(25):
        others = z[torch.arange(25) != i].numpy()
        peer = KernelDensity(bandwidth=0.4, rtol=0, atol=0).fit(others)
        scores.append(peer.score_samples(z[i : i + 1].numpy())[0])
    assert kde_entropy(z, 0.4).item() == pytest.approx(-sum(scores) / 25, abs=1e-10)


def test_effective_rank__from_scipys_entropy(generator):
    z = _codes(generator, 30, 6) @ _codes(generator, 6, 6)
    eigenvalues = torch.linalg.eigvalsh(torch.cov(z.T)).numpy()
    expected = math.exp(stats.entropy(eigenvalues))  # it normalises
    assert effective_rank(z).item() == pytest.approx(expected, rel=1e-12)


def test_pairwise_entropy_bounds__around_monte_carlo_in_eight_dimensions(generator):
    # A mixture fitted by scikit-learn. 3.3 standard errors to either side: 1e-3 for a fresh seed.
    centres = 2 * _codes(generator, 4, 8)
    data = centres.repeat_interleave(100, 0) + 0.7 * _codes(generator, 400, 8)
    fit = GaussianMixture(4, random_state=0, reg_covar=1e-3).fit(data.numpy())
    parts = [torch.from_numpy(v) for v in (fit.means_, fit.covariances_, fit.weights_)]
    law = MixtureSameFamily(Categorical(parts[2]), MultivariateNormal(parts[0], parts[1]))
    picks = torch.multinomial(parts[2], 20000, replacement=True, generator=generator)
    noise = _codes(generator, 20000, 8)[:, :, None]
    samples = parts[0][picks] + (torch.linalg.cholesky(parts[1])[picks] @ noise)[:, :, 0]
    surprise = -law.log_prob(samples)
    half = 3.3 * (surprise.std() / 20000**0.5).item()
    lower, upper = pairwise_entropy_bounds(*parts)
    assert lower.item() <= surprise.mean().item() + half
    assert surprise.mean().item() - half <= upper.item()

"""What a study reads from a representation: how its features depend on each other."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from .. import independence, validation

FLOOR = 1e-6  # of the mean eigenvalue; directions below it are noise of single precision


class Signals(NamedTuple):
    """Dependence of the features of a representation, each a mean over all pairs or triples.

    `hsic` is unbiased HSIC, `hsic_normalised` the same over the root of the two self-HSICs,
    `squared_correlation` needs no kernel, `hsic_whitened` is the normalised HSIC after ZCA
    whitening, and `lancaster` the three-way statistic of triples.
    """

    hsic: float
    hsic_normalised: float
    squared_correlation: float
    hsic_whitened: float
    lancaster: float


def dependence(features: Tensor, reference: Tensor) -> Signals:
    r"""Return the dependence of features, on a sample that fitted none of the maps in use.

    .. math:: \frac1{K(K-1)} \sum_{i \ne j}
        \frac{\mathrm{HSIC}(x_i, x_j)}{\sqrt{\mathrm{HSIC}(x_i, x_i)\,\mathrm{HSIC}(x_j, x_j)}}

    with unbiased estimates and Gaussian kernels of bandwidth 1 on features of variance 1.

    Parameters
    ----------
    features : Tensor, shape (n, K)
        Representation of fresh data, K at least 3 and n at least 4.
    reference : Tensor, shape (m, K)
        Representation of other data, which the whitening is fitted to; m above K.

    Returns
    -------
    Signals

    Raises
    ------
    ValueError
        If shapes do not fit, an entry is not finite, or a feature is constant.

    Notes
    -----
    Claims A7.a, A7.c to A7.e, A8.a and A8.b. Eigenvalues of the reference's correlation matrix
    below a millionth of their mean, 1, are raised to it before the root is taken.

    Examples
    --------
    >>> z = torch.randn(600, 4, generator=torch.Generator().manual_seed(0)).double()
    >>> found = dependence(z[:300], z[300:])
    >>> found.squared_correlation < 0.02, abs(found.hsic_normalised) < 0.02
    (True, True)
    """
    validation.tensor("features", features, ndim=2)
    validation.tensor("reference", reference, ndim=2)
    if reference.shape[1] != features.shape[1] or len(reference) <= features.shape[1]:
        raise ValueError(
            f"reference must have more than {features.shape[1]} rows of {features.shape[1]} "
            f"features, got shape {tuple(reference.shape)}"
        )
    u = standardised("features", features)
    correlation = u.T @ u / (len(u) - 1)
    size = len(correlation)
    off_diagonal = correlation.square().sum() - correlation.diagonal().square().sum()
    white = standardised("features", features.detach().double() @ _zca(reference))
    options: dict[str, Any] = {"bandwidth": 1.0, "estimator": "unbiased"}
    mean = independence.mean_pairwise_hsic
    return Signals(
        float(mean(u, **options)),
        float(mean(u, normalize=True, **options)),
        float(off_diagonal / (size * (size - 1))),
        float(mean(white, normalize=True, **options)),
        float(independence.lancaster_interaction(u, bandwidth=1.0)),
    )


def standardised(name: str, features: Tensor) -> Tensor:
    """Return features in float64 with mean 0 and variance 1; none may be constant."""
    x: Tensor = features.detach().double()
    x = x - x.mean(0)
    deviations = x.std(0)
    if not bool((deviations > 0).all()):
        constant = (~(deviations > 0)).nonzero().flatten().tolist()
        raise ValueError(f"{name} must vary, but columns {constant[:10]} are constant")
    scaled: Tensor = x / deviations
    return scaled


def _zca(reference: Tensor) -> Tensor:
    """Return the matrix that scales, then whitens by the symmetric root."""
    u = standardised("reference", reference)
    values, vectors = torch.linalg.eigh(u.T @ u / (len(u) - 1))
    root: Tensor = vectors * values.clamp(min=FLOOR).rsqrt() @ vectors.T
    return root / reference.detach().double().std(0)[:, None]

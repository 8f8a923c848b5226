"""The likelihood of a mixture of equal spheres, and which centroid answers for which input."""

import math

import torch
from torch import Tensor

from .. import validation
from ._inputs import exponents, points, squares


def responsibilities(x: Tensor, centroids: Tensor, variance: float) -> Tensor:
    r"""Return the posterior probability of every centroid given every input.

    .. math:: r_{nk} = \frac{e^{-\|x_n - \mu_k\|^2 / 2\sigma^2}}
        {\sum_j e^{-\|x_n - \mu_j\|^2 / 2\sigma^2}}

    Parameters
    ----------
    x : Tensor, shape (N, d)
        Inputs.
    centroids : Tensor, shape (K, d)
    variance : float
        The variance :math:`\sigma^2` of every component in every direction, positive.

    Returns
    -------
    Tensor, shape (N, K)
        Rows that sum to 1, differentiable.

    Raises
    ------
    ValueError
        If shapes do not fit, an entry is not finite or the variance is not positive.

    Notes
    -----
    Claims B7.a to B7.e: uniform fixed weights 1/K. An input far from every centroid has
    responsibilities like any other, since only differences of exponents enter.

    Examples
    --------
    >>> x = torch.tensor([[0.0], [1e4]])
    >>> responsibilities(x, torch.tensor([[1.0], [-1.0]]), 1.0)
    tensor([[0.5000, 0.5000],
            [1.0000, 0.0000]])
    """
    x, centroids = points(x, centroids)
    logits, _ = exponents(x, centroids, variance)
    return torch.softmax(logits, 1).to(x.dtype)


def log_likelihood(x: Tensor, centroids: Tensor, variance: float) -> Tensor:
    r"""Return the log-likelihood of the inputs, summed.

    .. math:: L = \sum_n \log \frac1K \sum_k \mathcal N(x_n; \mu_k, \sigma^2 I)

    Parameters
    ----------
    x : Tensor, shape (N, d)
        Inputs.
    centroids : Tensor, shape (K, d)
    variance : float
        The variance :math:`\sigma^2`, positive.

    Returns
    -------
    Tensor, scalar
        In nats, differentiable in inputs and centroids, twice as well.

    Raises
    ------
    ValueError
        If shapes do not fit, an entry is not finite or the variance is not positive.

    Notes
    -----
    Claims B7.a to B7.e. Its gradient in the inputs is :math:`\sigma^{-2} \sum_k r_{nk} (\mu_k -
    x_n)`, in the centroids :math:`\sigma^{-2} \sum_n r_{nk} (x_n - \mu_k)`.

    Examples
    --------
    >>> one = torch.zeros(1, 1)
    >>> round(float(log_likelihood(one, one, 1.0)), 4)  # -log(2 pi) / 2
    -0.9189
    """
    x, centroids = points(x, centroids)
    logits, variance = exponents(x, centroids, variance)
    total = torch.logsumexp(logits, 1).sum()
    constant = math.log(len(centroids)) + x.shape[1] / 2 * math.log(2 * math.pi * variance)
    return (total - len(x) * constant).to(x.dtype)


def likelihood_supremum(n: int, d: int, variance: float) -> float:
    r"""Return the largest log-likelihood that inputs and centroids together can reach.

    .. math:: -\frac{Nd}2 \log(2\pi\sigma^2),

    attained exactly where all inputs and all centroids are one point.

    Parameters
    ----------
    n, d : int
        Number of inputs and dimension.
    variance : float
        The variance :math:`\sigma^2`, positive.

    Returns
    -------
    float
        In nats.

    Notes
    -----
    Claim B7.a.

    Examples
    --------
    >>> round(likelihood_supremum(1, 1, 1.0), 4)
    -0.9189
    """
    n, d = validation.integer("n", n, at_least=1), validation.integer("d", d, at_least=1)
    return -n * d / 2 * math.log(2 * math.pi * validation.positive("variance", variance))


def nearest(x: Tensor, centroids: Tensor) -> Tensor:
    """Return the index of the nearest centroid of every input, the first where several are.

    Parameters
    ----------
    x : Tensor, shape (N, d)
    centroids : Tensor, shape (K, d)

    Returns
    -------
    Tensor, shape (N,)
        Of dtype int64.

    Raises
    ------
    ValueError
        If shapes do not fit or an entry is not finite.

    Notes
    -----
    Claim B7.d.

    Examples
    --------
    >>> nearest(torch.tensor([[0.0], [3.0]]), torch.tensor([[1.0], [2.0]])).tolist()
    [0, 1]
    """
    x, centroids = points(x, centroids)
    return squares(x.detach(), centroids.detach()).argmin(1)


def nearest_cost(x: Tensor, centroids: Tensor) -> Tensor:
    r"""Return the cost of hard assignment, :math:`J = \sum_n \min_k \|x_n - \mu_k\|^2`.

    Parameters
    ----------
    x : Tensor, shape (N, d)
    centroids : Tensor, shape (K, d)

    Returns
    -------
    Tensor, scalar
        Differentiable away from ties.

    Raises
    ------
    ValueError
        If shapes do not fit or an entry is not finite.

    Notes
    -----
    Claim B7.d: under hard nearest assignment with trainable inputs it decays at least as
    :math:`e^{-2t/\sigma^2}`.

    Examples
    --------
    >>> nearest_cost(torch.tensor([[0.0], [3.0]]), torch.tensor([[1.0], [2.0]]))
    tensor(2.)
    """
    x, centroids = points(x, centroids)
    return squares(x, centroids).amin(1).sum().to(x.dtype)

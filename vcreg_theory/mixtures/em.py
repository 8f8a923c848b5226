"""Expectation-maximisation with fixed inputs: one step, and the derivative of its map."""

import torch
from torch import Tensor

from .. import validation
from ._inputs import exponents, points


def em_step(x: Tensor, centroids: Tensor, variance: float) -> Tensor:
    r"""Return the centroids after one step of expectation-maximisation, inputs fixed.

    .. math:: \mu_k \leftarrow \frac{\sum_n r_{nk} x_n}{\sum_n r_{nk}}

    Parameters
    ----------
    x : Tensor, shape (N, d)
        Inputs.
    centroids : Tensor, shape (K, d)
    variance : float
        The variance :math:`\sigma^2`, positive and fixed, as are the weights 1/K.

    Returns
    -------
    Tensor, shape (K, d)
        Differentiable. The likelihood is no smaller there.

    Raises
    ------
    ValueError
        If shapes do not fit, an entry is not finite or the variance is not positive.

    Notes
    -----
    Claims B7.c and B7.e. The fixed points are those of the gradient flow. A centroid far from every
    input is weighted by logarithms and so goes to a mean of inputs, too.

    Examples
    --------
    >>> x = torch.tensor([[-1.0], [1.0]])
    >>> em_step(x, torch.tensor([[-100.0], [50.0]]), 1.0)
    tensor([[-1.],
            [ 0.]])
    """
    x, centroids = points(x, centroids)
    return (_shares(x, centroids, variance).T @ x.double()).to(x.dtype)


def em_iterate(
    x: Tensor,
    centroids: Tensor,
    variance: float,
    *,
    tolerance: float = 1e-12,
    max_steps: int = 10**5,
) -> Tensor:
    r"""Return the centroids where expectation-maximisation comes to rest, inputs fixed.

    Parameters
    ----------
    x : Tensor, shape (N, d)
        Inputs.
    centroids : Tensor, shape (K, d)
        The start.
    variance : float
        The variance :math:`\sigma^2`, positive and fixed.
    tolerance : float
        A step that moves no centroid by more than this, in units of the inputs' largest distance
        from their mean, is the last.
    max_steps : int
        Steps at most.

    Returns
    -------
    Tensor, shape (K, d)
        Without gradient. Where steps shrink by a factor q the distance from the fixed point is at
        most q/(1 - q) times the last step: near a threshold q is near 1.

    Raises
    ------
    ValueError
        If an argument is out of range, or the steps have not become so small after `max_steps`.

    Notes
    -----
    Claims B7.c and B7.e.

    Examples
    --------
    >>> x = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    >>> em_iterate(x, 0.1 * x, 0.5).flatten()  # the fixed points of tanh
    tensor([-0.9575,  0.9575], dtype=torch.float64)
    """
    tolerance = validation.nonnegative("tolerance", tolerance)
    max_steps = validation.integer("max_steps", max_steps, at_least=1)
    x, centroids = (part.detach() for part in points(x, centroids))
    wide, current = x.double(), centroids.double()
    middle = wide.mean(0)
    wide, current = wide - middle, current - middle
    reach = float(wide.norm(dim=1).max())
    for _ in range(max_steps):
        last, current = current, em_step(wide, current, variance)
        if float((current - last).abs().max()) <= tolerance * reach:
            return (current + middle).to(x.dtype)
    raise ValueError(
        f"max_steps must be larger: after {max_steps} steps centroids still move by "
        f"{float((current - last).abs().max()):g}"
    )


def em_jacobian(x: Tensor, centroids: Tensor, variance: float) -> Tensor:
    r"""Return the derivative, at every centroid, of the map whose fixed points they all are.

    .. math:: m(\mu) = \sum_n w_n(\mu)\, x_n, \quad
        w_n(\mu) \propto \frac{e^{-\|x_n - \mu\|^2 / 2\sigma^2}}
        {\sum_j e^{-\|x_n - \mu_j\|^2 / 2\sigma^2}}, \qquad
        \frac{\partial m}{\partial\mu}(\mu_k) = \frac{\operatorname{Cov}_{w(\mu_k)}(x)}{\sigma^2}

    with the denominators held fixed: at a critical point of the likelihood every centroid solves
    :math:`\mu = m(\mu)` for one and the same m.

    Parameters
    ----------
    x : Tensor, shape (N, d)
        Inputs.
    centroids : Tensor, shape (K, d)
    variance : float
        The variance :math:`\sigma^2`, positive.

    Returns
    -------
    Tensor, shape (K, d, d)
        Symmetric matrices without negative eigenvalues, of norm at most
        :math:`\delta^2/(4\sigma^2)` for inputs of diameter :math:`\delta`.

    Raises
    ------
    ValueError
        If shapes do not fit, an entry is not finite or the variance is not positive.

    Notes
    -----
    Claim B7.e. The bound is Popoviciu's inequality in every direction.

    Examples
    --------
    >>> x = torch.tensor([[-1.0], [1.0]])
    >>> em_jacobian(x, torch.zeros(2, 1), 2.0).flatten()
    tensor([0.5000, 0.5000])
    """
    x, centroids = points(x, centroids)
    shares = _shares(x, centroids, variance)
    means = shares.T @ x.double()
    covariances = []
    for weights, mean in zip(shares.T, means, strict=True):
        offsets = x.double() - mean
        covariances.append((offsets * weights[:, None]).T @ offsets)
    return (torch.stack(covariances) / variance).to(x.dtype)


def _shares(x: Tensor, centroids: Tensor, variance: float) -> Tensor:
    """Return the weights of the inputs in every centroid, (N, K), columns that sum to one."""
    logits, _ = exponents(x, centroids, variance)
    return torch.softmax(torch.log_softmax(logits, 1), 0)

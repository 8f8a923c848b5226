"""Thresholds in the variance: where collapsed centroids are stable, and where they are all."""

import torch
from torch import Tensor

from .. import validation
from ..entropy.codes import centred, codes
from .energy import diameter


def critical_variance(x: Tensor) -> Tensor:
    r"""Return the variance at which collapsed centroids turn stable, inputs fixed.

    .. math:: \lambda_{\max}(S), \qquad S = \frac1N \sum_n (x_n - \bar x)(x_n - \bar x)^\top

    Parameters
    ----------
    x : Tensor, shape (N, d)
        Inputs, at least 2.

    Returns
    -------
    Tensor, scalar
        Differentiable where the largest eigenvalue is simple.

    Raises
    ------
    ValueError
        If `x` is not a batch of at least 2 finite inputs.

    Notes
    -----
    Claim B7.c. Below it the state in which all K >= 2 centroids are the mean of the inputs is
    unstable, above it a strict local maximum of the likelihood. This is local: centroids that start
    apart may stay apart above it, up to `sufficient_variance`.

    Examples
    --------
    >>> round(float(critical_variance(torch.tensor([[-1.0], [1.0]]))), 6)
    1.0
    """
    x = codes("x", x)
    largest: Tensor = torch.linalg.svdvals(centred(x))[0]
    return (largest.square() / len(x)).to(x.dtype)


def sufficient_variance(x: Tensor) -> Tensor:
    r"""Return the variance above which centroids collapse from every start, inputs fixed.

    .. math:: \delta^2 / 4, \qquad \delta = \max_{m,n} \|x_m - x_n\|

    Parameters
    ----------
    x : Tensor, shape (N, d)
        Inputs, at least 2.

    Returns
    -------
    Tensor, scalar
        At least `critical_variance`; without gradient.

    Raises
    ------
    ValueError
        If `x` is not a batch of at least 2 finite inputs.

    Notes
    -----
    Claim B7.e. Sufficient, not necessary.

    Examples
    --------
    >>> sufficient_variance(torch.tensor([[-1.0], [1.0]]))
    tensor(1.)
    """
    x = codes("x", x)
    return (diameter(x).double().square() / 4).to(x.dtype)


def collapse_curvature(x: Tensor, k: int, variance: float) -> Tensor:
    r"""Return the curvatures of the likelihood at collapsed centroids, inputs fixed.

    .. math:: \frac NK \Bigl(\frac{\lambda_i}{\sigma^4} - \frac1{\sigma^2}\Bigr)

    along displacements :math:`\delta_k` of the centroids with sum zero, in the direction of the
    i-th principal axis of the inputs. A common displacement has :math:`-N/(K\sigma^2)`.

    Parameters
    ----------
    x : Tensor, shape (N, d)
        Inputs, at least 2.
    k : int
        Number of centroids, at least 2.
    variance : float
        The variance :math:`\sigma^2`, positive.

    Returns
    -------
    Tensor, shape (d,)
        Descending: eigenvalues of the Hessian, each with multiplicity K - 1. A positive one makes
        the collapsed state unstable.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Claim B7.c: the second variation is :math:`\frac N{2K} \sum_k \delta_k^\top (S/\sigma^4 -
    I/\sigma^2) \delta_k`.

    Examples
    --------
    >>> collapse_curvature(torch.tensor([[-1.0], [1.0]]), 2, 0.5)  # 4 - 2
    tensor([2.])
    """
    x = codes("x", x)
    k = validation.integer("k", k, at_least=2)
    variance = validation.positive("variance", variance)
    values = torch.linalg.svdvals(centred(x)).square() / len(x)
    values = torch.nn.functional.pad(values, (0, x.shape[1] - len(values)))
    return (len(x) / k * (values / variance - 1) / variance).to(x.dtype)

"""Dependence among more than two variables: dHSIC and the three-way Lancaster statistic."""

from typing import Any

import torch
from torch import Tensor

from ..kernels.bandwidths import resolve
from ..kernels.gaussian import gram_less_one
from ._moments import recomputed, strips, variables
from .pair import kernel_sums


def dhsic(*samples: Tensor, bandwidth: Any = None) -> Tensor:
    r"""Return dHSIC of d variables, the V-statistic, under Gaussian kernels.

    .. math::
        \mathrm{dHSIC} = \frac1{n^2} \sum_{ab} \prod_j K^j_{ab}
        + \prod_j \frac{\mathbf 1^\top K^j \mathbf 1}{n^2}
        - \frac2{n^{d+1}} \sum_a \prod_j (K^j \mathbf 1)_a

    For two variables it is the biased HSIC. Under independence it has a positive mean, and for
    many variables it tends to 1/n whatever their dependence: compare with `dhsic_excess`.

    Parameters
    ----------
    *samples : Tensor, shape (n,) or (n, p)
        At least two variables, with n at least 2.
    bandwidth : float or sequence of floats, optional
        Bandwidth of all kernels, or of each; the median distance of each variable where none is
        given, taken as a constant by autograd.

    Returns
    -------
    Tensor, shape ()
        In the dtype of the variables; summed in float64. Differentiable in the samples.

    Raises
    ------
    ValueError
        As `hsic`; a variable is named by its place, from ``variables[0]``.

    Notes
    -----
    Claims A4.a and A4.e. Pfister et al., "Kernel-based tests for joint independence" (2018).

    Examples
    --------
    Three bits of which the third is the product of the others: independent in pairs only.

    >>> x = torch.tensor([-1.0, -1.0, 1.0, 1.0])
    >>> y = torch.tensor([-1.0, 1.0, -1.0, 1.0])
    >>> beta = (1 - torch.tensor(-2.0).exp().item()) / 2
    >>> abs(dhsic(x, y, x * y, bandwidth=1.0).item() - beta**3) < 1e-7
    True
    """
    joint, means = _joint(samples, bandwidth)
    value = joint + means.mean(1).prod() - 2 * means.prod(0).mean()
    return value.to(samples[0].dtype)


def joint_arguments(samples: tuple[Any, ...], bandwidth: Any) -> tuple[list[Tensor], list[float]]:
    """Return checked samples (n, p) of at least two variables, and their bandwidths."""
    if len(samples) < 2:
        raise ValueError(f"variables must be at least 2, got {len(samples)}")
    named = variables({f"variables[{i}]": value for i, value in enumerate(samples)}, 2)
    return list(named.values()), resolve(bandwidth, named)


def dhsic_excess(*samples: Tensor, bandwidth: Any = None) -> Tensor:
    r"""Return dHSIC less its mean over all permutations of the samples of each variable.

    .. math::
        \mathrm{dHSIC} - \Bigl[ \frac1n + \frac{n-1}n \prod_j \kappa_j - \prod_j m_j \Bigr],
        \qquad \kappa_j = \frac{\mathbf 1^\top K^j \mathbf 1 - n}{n(n-1)}, \quad
        m_j = \frac{\mathbf 1^\top K^j \mathbf 1}{n^2}

    The bracket is the exact mean, no permutation is drawn. Under independence the excess has mean
    zero; where dHSIC saturates at 1/n, so does the bracket, and the excess shows that nothing is
    seen.

    Parameters
    ----------
    *samples : Tensor, shape (n,) or (n, p)
        At least two variables, with n at least 2.
    bandwidth : float or sequence of floats, optional
        As `dhsic`.

    Returns
    -------
    Tensor, shape ()
        In the dtype of the variables. Differentiable in the samples.

    Raises
    ------
    ValueError
        As `dhsic`.

    Notes
    -----
    Claim A4.e. A permutation moves the row sums of a Gram matrix but keeps its diagonal and its
    total, so the mean of the first sum of dHSIC splits into its diagonal, which is 1/n, and its
    off-diagonal part; the mean of the third is twice the second.

    Examples
    --------
    >>> x = torch.tensor([-1.0, -1.0, 1.0, 1.0])
    >>> dhsic_excess(x, x, bandwidth=1.0) < dhsic(x, x, bandwidth=1.0)
    tensor(True)
    """
    joint, means = _joint(samples, bandwidth)
    n = means.shape[1]
    totals = means.mean(1)
    apart = ((n * totals - 1) / (n - 1)).prod()
    value = joint + 2 * totals.prod() - 2 * means.prod(0).mean() - 1 / n - (n - 1) / n * apart
    return value.to(samples[0].dtype)


def _joint(samples: tuple[Any, ...], bandwidth: Any) -> tuple[Tensor, Tensor]:
    """Return the mean entry of the product of Gram matrices, and the means of their rows."""
    named, widths = joint_arguments(samples, bandwidth)
    product, sums = kernel_sums(named, widths, less=0)
    return product / sums.shape[1] ** 2, 1 + sums / sums.shape[1]


def lancaster(x: Tensor, y: Tensor, w: Tensor, *, bandwidth: Any = None) -> Tensor:
    r"""Return the three-way Lancaster statistic of three variables under Gaussian kernels.

    .. math:: \frac1{n^2} \sum_{ab} (\tilde K \circ \tilde L \circ \tilde M)_{ab},
        \qquad \tilde K = HKH

    Its population value is zero whenever one variable is independent of the other two, so it shows
    the dependence that no pair has. It may be negative.

    Parameters
    ----------
    x, y, w : Tensor, shape (n,) or (n, p)
        Samples, n at least 2.
    bandwidth : float or sequence of 3 floats, optional
        As `dhsic`.

    Returns
    -------
    Tensor, shape ()
        In the dtype of the variables; summed in float64. Differentiable in the samples.

    Raises
    ------
    ValueError
        As `hsic`.

    Notes
    -----
    Claim A4.d. The V-statistic: under mutual independence its mean is
    :math:`\frac{(n-1)(n-2)}{n^3} \prod_j (1 - \kappa_j)` with the means :math:`\kappa_j` of the
    kernels between independent samples. Sejdinovic, Gretton and Bergsma, "A kernel test for
    three-variable interactions" (2013).

    Examples
    --------
    >>> x = torch.tensor([-1.0, -1.0, 1.0, 1.0])
    >>> y = torch.tensor([-1.0, 1.0, -1.0, 1.0])
    >>> round(lancaster(x, y, x * y, bandwidth=1.0).item(), 6)
    0.080808
    """
    named = variables({"x": x, "y": y, "w": w}, 2)
    widths = resolve(bandwidth, named)
    doubles = [value.double() for value in named.values()]
    n = len(doubles[0])
    means = kernel_sums(doubles, widths, less=1)[1] / n  # of the rows of K - 1
    parts = [recomputed(_centred, rows, widths, means, *doubles) for rows in strips(means.T)]
    return (torch.stack(parts).sum() / n**2).to(named["x"].dtype)


def _centred(rows: slice, widths: list[float], means: Tensor, *samples: Tensor) -> Tensor:
    """Return the sum of the product of centred Gram matrices over a block of rows."""
    product: Any = 1.0
    with torch.autocast(means.device.type, enabled=False):
        for value, w, mean in zip(samples, widths, means, strict=True):
            kernel = gram_less_one(value[rows], value, w)
            product = product * (kernel - mean[rows, None] - mean + mean.mean())
    total: Tensor = product.sum()
    return total

"""The Hilbert-Schmidt independence criterion of one pair of variables."""

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from .. import validation
from ..kernels.bandwidths import resolve
from ..kernels.gaussian import gram_less_one
from ._moments import (
    Moments,
    centred_inner,
    centred_rows,
    check_estimator,
    mean_gaps,
    recomputed,
    strips,
    variables,
)


def hsic(x: Tensor, y: Tensor, *, bandwidth: Any = None, estimator: str = "biased") -> Tensor:
    r"""Return HSIC of two variables under Gaussian kernels.

    .. math::
        \mathrm{HSIC}_b = \frac1{n^2} \operatorname{tr}(K H L H), \qquad
        \mathrm{HSIC}_u = \frac1{n(n-3)} \Bigl[ \operatorname{tr}(K^\circ L^\circ)
        + \frac{\mathbf 1^\top K^\circ \mathbf 1\, \mathbf 1^\top L^\circ \mathbf 1}{(n-1)(n-2)}
        - \frac2{n-2} \mathbf 1^\top K^\circ L^\circ \mathbf 1 \Bigr]

    with Gram matrices :math:`K, L`, the same with zero diagonals :math:`K^\circ, L^\circ`, and
    :math:`H = I - \mathbf 1 \mathbf 1^\top / n`.

    Parameters
    ----------
    x, y : Tensor, shape (n,) or (n, d)
        Samples, row by row; the dimensions may differ. n is at least 2, for "unbiased" at least 4.
    bandwidth : float or pair of floats, optional
        Bandwidth of both kernels, or of each; the median distance of each variable where none is
        given (`kernels.median_bandwidth`), taken as a constant by autograd.
    estimator : {"biased", "unbiased"}
        "biased" is never negative; "unbiased", of Song et al., has the population value as its
        mean for a given bandwidth and may be negative.

    Returns
    -------
    Tensor, shape ()
        In the dtype of `x`; summed in float64, in blocks of rows. Differentiable in the samples.

    Raises
    ------
    ValueError
        If the numbers of samples, the dtypes or the devices differ, n is too small, an entry or
        the bandwidth is not finite, or no bandwidth is given and a median distance is zero.

    Notes
    -----
    Claims A2.a, A2.c and A2.d. Biased: Gretton et al., "Measuring statistical dependence with
    Hilbert-Schmidt norms" (2005), with 1/n^2 for 1/(n-1)^2. Unbiased: Song et al., "Feature
    selection via dependence maximization" (2012).

    Examples
    --------
    >>> x = torch.tensor([-1.0, -1.0, 1.0, 1.0])
    >>> y = torch.tensor([-1.0, 1.0, -1.0, 1.0])
    >>> abs(round(hsic(x, y, bandwidth=1.0).item(), 6)), round(hsic(x, x, bandwidth=1.0).item(), 6)
    (0.0, 0.186911)
    """
    named = variables({"x": x, "y": y}, check_estimator(estimator))
    widths = resolve(bandwidth, named)
    inner, sums = kernel_sums(list(named.values()), widths, less=1)
    n = sums.shape[1]
    rows, totals, gaps = centred_rows(sums).prod(0).sum(), sums.sum(1), mean_gaps(sums)
    moments = Moments(centred_inner(inner, rows, totals.prod(), n), rows, gaps.prod())
    return moments.hsic(n, estimator).to(named["x"].dtype)


def kernel_sums(
    samples: Sequence[Tensor], widths: Sequence[float], *, less: int
) -> tuple[Tensor, Tensor]:
    """Return the sum of the entrywise product of K - less, and the row sums (d, n) of K - 1."""
    doubles = [value.double() for value in samples]
    parts = [recomputed(_strip, rows, widths, less, *doubles) for rows in strips(doubles[0])]
    products, sums = zip(*parts, strict=True)
    return torch.stack(products).sum(), torch.cat(sums, 1)


def _strip(
    rows: slice, widths: Sequence[float], less: int, *samples: Tensor
) -> tuple[Tensor, Tensor]:
    with torch.autocast(samples[0].device.type, enabled=False):
        grams = [gram_less_one(v[rows], v, w) for v, w in zip(samples, widths, strict=True)]
    product = cast(Tensor, math.prod(gram + (1 - less) for gram in grams))
    return product.sum(), torch.stack([gram.sum(1) for gram in grams])


def expected_biased_hsic(n: int, joint: Any, cross: Any, x: Any, y: Any) -> Any:
    r"""Return the exact mean of the biased HSIC of n independent pairs.

    .. math::
        \mathbb E\, \mathrm{HSIC}_b = \frac{n-1}{n^3} \bigl[ A (n^2-2n+2) - 2B (n-2)^2
        + KL (n-2)(n-3) - (K+L) n + n \bigr]

    for kernels with ones on the diagonal, which is :math:`\frac{n-1}{n^2}(1-K)(1-L)` under
    independence.

    Parameters
    ----------
    n : int
        Number of samples, at least 1.
    joint, cross, x, y : float, Tensor, Fraction or symbol
        The kernel means :math:`A = \mathbb E\, k(X,X') l(Y,Y')`,
        :math:`B = \mathbb E\, k(X,X') l(Y,Y'')`, :math:`K = \mathbb E\, k(X,X')` and
        :math:`L = \mathbb E\, l(Y,Y')`, as in `kernels.KernelMeans`; HSIC is
        :math:`A - 2B + KL`.

    Returns
    -------
    float, Tensor, Fraction or symbol
        Of the kind of the means.

    Raises
    ------
    ValueError
        If n < 1.

    Notes
    -----
    Claim A2.d.

    Examples
    --------
    >>> from vcreg_theory.kernels import gaussian_kernel_means
    >>> round(expected_biased_hsic(20, *gaussian_kernel_means(0.6, 1.0)), 7)
    0.0240113
    """
    n = validation.integer("n", n, at_least=1)
    bracket = (
        joint * (n**2 - 2 * n + 2)
        - 2 * cross * (n - 2) ** 2
        + x * y * (n - 2) * (n - 3)
        - (x + y) * n
        + n
    )
    return bracket * (n - 1) / n**3

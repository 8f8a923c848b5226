"""Permutation tests of independence, with p-values that hold for every sample size."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from .. import validation
from ..kernels.bandwidths import resolve
from ._moments import check_estimator, variables
from ._permuted import Compared, from_factors, from_grams, from_products
from .mutual import dhsic, joint_arguments
from .pair import hsic

_TOL = 1e-8  # error allowed in the HSIC of low-rank kernels; smaller differences count as ties

_ROUNDING = 1e-13  # hundreds of float64 epsilons, for sums over n^2 entries added in a tree


class IndependenceTest(NamedTuple):
    """The statistic of the observed samples, a scalar tensor, and the p-value of the test."""

    statistic: Tensor
    pvalue: float


@torch.no_grad()
def hsic_test(
    x: Tensor,
    y: Tensor,
    *,
    n_permutations: int,
    generator: torch.Generator,
    bandwidth: Any = None,
    estimator: str = "biased",
) -> IndependenceTest:
    r"""Test by permutations whether two variables are independent.

    .. math:: p = \frac{1 + \#\{b : \mathrm{HSIC}(x, \pi_b y) \ge \mathrm{HSIC}(x, y)\}}{1 + B}

    with B random permutations of the samples of `y`. Under independence
    :math:`P(p \le \alpha) \le \alpha` for every n and B, and it equals
    :math:`\lfloor \alpha (B+1) \rfloor / (B+1)` where the statistics have no ties. Scalar
    variables are compared through low-rank kernels, O(n) a permutation.

    Parameters
    ----------
    x, y : Tensor, shape (n,) or (n, d)
        Samples, row by row; n at least 2, for "unbiased" at least 4.
    n_permutations : int
        B, at least 1.
    generator : torch.Generator
        Source of the permutations.
    bandwidth, estimator
        As in `hsic`.

    Returns
    -------
    IndependenceTest
        ``statistic``, which is `hsic` of the arguments, and ``pvalue``, a float.

    Raises
    ------
    ValueError, TypeError
        As `hsic`; if `n_permutations` is below 1 or `generator` is not a torch.Generator.

    Notes
    -----
    Claim A2.e. Permuted statistics that equal the observed one up to rounding count as ties, so
    rounding never makes a p-value too small.

    Examples
    --------
    >>> x = torch.linspace(-1, 1, 40)
    >>> result = hsic_test(x, x.square(), n_permutations=99, generator=torch.Generator())
    >>> result.pvalue
    0.01
    """
    n_permutations = _check_permutations(n_permutations, generator)
    named = variables({"x": x, "y": y}, check_estimator(estimator))
    widths = resolve(bandwidth, named)
    statistic = hsic(x, y, bandwidth=widths, estimator=estimator)
    checked = list(named.values())
    with torch.autocast(x.device.type, enabled=False):
        compared = from_factors(checked, widths, estimator)
        if compared is None:
            compared = from_grams([value.double() for value in checked], widths, estimator)
        return IndependenceTest(statistic, _pvalue(compared, x, 1, n_permutations, generator))


@torch.no_grad()
def dhsic_test(
    *samples: Tensor, n_permutations: int, generator: torch.Generator, bandwidth: Any = None
) -> IndependenceTest:
    r"""Test by permutations whether d variables are mutually independent.

    .. math:: p = \frac{1 + \#\{b : \mathrm{dHSIC}(x^1, \pi^2_b x^2, \dots, \pi^d_b x^d)
        \ge \mathrm{dHSIC}(x^1, \dots, x^d)\}}{1 + B}

    with independent random permutations of all variables but the first.

    Parameters
    ----------
    *samples : Tensor, shape (n,) or (n, p)
        At least two variables, n at least 2. The test holds d Gram matrices in memory.
    n_permutations : int
        B, at least 1.
    generator : torch.Generator
        Source of the permutations.
    bandwidth : float or sequence of floats, optional
        As in `dhsic`.

    Returns
    -------
    IndependenceTest
        ``statistic``, which is `dhsic` of the arguments, and ``pvalue``, a float.

    Raises
    ------
    ValueError, TypeError
        As `dhsic`; if `n_permutations` is below 1 or `generator` is not a torch.Generator.

    Notes
    -----
    Claims A4.a and A4.c. Valid as `hsic_test`, with the same rule for ties.

    Examples
    --------
    >>> bits = torch.randint(2, (2, 60), generator=torch.Generator().manual_seed(0)) * 2.0 - 1
    >>> options = {"bandwidth": 1.0, "n_permutations": 99, "generator": torch.Generator()}
    >>> dhsic_test(bits[0], bits[1], bits[0] * bits[1], **options).pvalue
    0.01
    """
    n_permutations = _check_permutations(n_permutations, generator)
    named, widths = joint_arguments(samples, bandwidth)
    statistic = dhsic(*samples, bandwidth=widths)
    with torch.autocast(statistic.device.type, enabled=False):
        compared = from_products([value.double() for value in named], widths)
        moved = len(named) - 1
        pvalue = _pvalue(compared, named[0], moved, n_permutations, generator)
    return IndependenceTest(statistic, pvalue)


def _check_permutations(n_permutations: Any, generator: Any) -> int:
    if not isinstance(generator, torch.Generator):
        raise TypeError(f"generator must be a torch.Generator, got {type(generator).__name__}")
    return validation.integer("n_permutations", n_permutations, at_least=1)


def _pvalue(
    compared: Compared, like: Tensor, moved: int, number: int, generator: torch.Generator
) -> float:
    """Return the share of permutations of `moved` variables that reach the observed statistic."""
    n, count = len(like), 0
    identity = torch.arange(n, device=like.device).expand(1, moved, n)
    level = compared.function(identity) - compared.slack
    for start in range(0, number, compared.batch):
        size = min(compared.batch, number - start)
        drawn = [
            torch.randperm(n, generator=generator, device=generator.device)
            for _ in range(size * moved)
        ]
        permutations = torch.stack(drawn).view(size, moved, n).to(like.device)
        count += int((compared.function(permutations) >= level).sum())
    return (1 + count) / (1 + number)

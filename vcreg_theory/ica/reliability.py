"""Did the unmixing work? What can be told without knowing the sources."""

from typing import NamedTuple

import torch
from torch import Tensor

from .dependence import WIDTH, dependence
from .gains import cramer_rao_gain_variance, ica_gain_variance

LEVEL = 0.01
LARGEST_ERROR = 0.2


class Reliability(NamedTuple):
    """What tells success from failure without labels.

    `pvalue` of independence (nan below the samples that the test needs), `pvalues` of the pairs,
    `gain_error`, the standard deviation to expect of each entry of the gain matrix.
    """

    pvalue: float
    pvalues: Tensor
    gain_error: Tensor

    @property
    def passed(self) -> bool:
        """Whether the sources look independent and are identified."""
        return self.pvalue >= LEVEL and bool((self.gain_error <= LARGEST_ERROR).all())


def assess(y: Tensor, information: Tensor, *, rotation: bool = False) -> Reliability:
    """Assess sources y[d, n] of variance one with the information of each on held-out samples.

    Two failures look different. Dependent outputs fail the test of independence. Sources that are
    too Gaussian for the sample pass it, since every rotation of them is independent; their
    information is then close to that of a Gaussian, 1, and the predicted gain error large. It is
    larger for a `rotation`, which keeps the correlation that the sources have by chance.
    """
    pvalue, pvalues = _independence(y)
    return Reliability(pvalue, pvalues, _gain_error(information, y.shape[1], rotation))


def _independence(y: Tensor) -> tuple[float, Tensor]:
    """Return the p-value of independence and those of the pairs."""
    d, n = y.shape
    pvalue, pvalues = 1.0, torch.ones(d, d, dtype=y.dtype, device=y.device)
    if d > 1:
        if n <= 2 * WIDTH + 4:
            pvalue, pvalues = float("nan"), torch.full_like(pvalues, float("nan"))
        else:
            found = dependence(y)
            pvalue, pvalues = found.pvalue, found.pvalues
            # Under independence a correlation has the deviation (n - 1)^-1/2; six are too many.
            linear = (y @ y.T / n).fill_diagonal_(0).abs().max()
            pvalue = 0.0 if float(linear) > 6 / (n - 1) ** 0.5 else pvalue
    return pvalue, pvalues


def _gain_error(information: Tensor, n: int, rotation: bool) -> Tensor:
    """Return the deviation of the gains, infinite for two Gaussians, zero on the diagonal."""
    known = information.clamp(min=1)
    product = known[:, None] * known
    first, second = torch.broadcast_tensors(known[:, None], known)
    variance = torch.full_like(product, float("inf"))
    fit = product > 1
    formula = ica_gain_variance if rotation else cramer_rao_gain_variance
    variance[fit] = formula(first[fit], second[fit])
    return (variance / n).sqrt().fill_diagonal_(0)

"""Complexity of linear probes of bounded norm, and a grid of norms to choose from afterwards."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .. import validation


def probe_rademacher(norm: float, outputs: int, second_moment: float, size: int) -> float:
    r"""Bound the Rademacher complexity of the losses of linear probes of bounded norm.

    .. math:: \mathcal R_m\big(\{(x, y) \mapsto \lVert W^\top f(x) - y \rVert :
        \lVert W \rVert_F \le C\}\big) \le C \sqrt{\frac{2 K\, \mathbb E \lVert f \rVert^2}{m}}

    Parameters
    ----------
    norm : float
        Bound C on the Frobenius norm, fixed before the sample is seen.
    outputs : int
        Number K of outputs.
    second_moment : float
        :math:`\mathbb E \lVert f \rVert^2` for the expected complexity, the mean over the sample
        for the empirical one.
    size : int
        Size m of the sample.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If a number is out of range.

    Notes
    -----
    Claim B8.c. The factor of root two is Maurer's (2016) for losses that are
    1-Lipschitz in a vector; the rest is Jensen's inequality for
    :math:`C\, \mathbb E \lVert \sum_i f(x_i) \sigma_i^\top \rVert_F / m`.

    Examples
    --------
    >>> probe_rademacher(2.0, 2, 1.0, 64)
    0.5
    """
    norm = validation.nonnegative("norm", norm)
    outputs = validation.integer("outputs", outputs, at_least=1)
    second_moment = validation.nonnegative("second_moment", second_moment)
    size = validation.integer("size", size, at_least=1)
    return norm * math.sqrt(2 * outputs * second_moment / size)


class NormLevel(NamedTuple):
    """A bound on a norm with the share of the probability that the grid sets aside for it."""

    norm: float
    delta: float


def norm_level(value: float, delta: float, *, base: float) -> NormLevel:
    r"""Return the level of a geometric grid that a norm seen in the data belongs to.

    .. math:: C_j = 2^{j-1} C_1, \quad \delta_j = \frac{\delta}{j(j+1)}, \quad
        j = \min\{j \ge 1 : \text{value} \le C_j\}, \qquad \sum_j \delta_j = \delta

    Parameters
    ----------
    value : float
        The norm, not negative.
    delta : float
        Probability for all levels together, in (0, 1).
    base : float
        The first level, fixed before the sample is seen.

    Returns
    -------
    NormLevel

    Raises
    ------
    TypeError, ValueError
        If a number is out of range.

    Notes
    -----
    Claim B8.c. A bound for every probe of norm at most C, with probability :math:`1 - \delta`,
    does not allow C to be the norm of the probe that was fitted; one for all levels at once does.

    Examples
    --------
    >>> norm_level(3.0, 0.06, base=1.0)
    NormLevel(norm=4.0, delta=0.005)
    """
    value = validation.nonnegative("value", value)
    delta = validation.probability("delta", delta)
    base = validation.positive("base", base)
    level = 1
    while base * 2 ** (level - 1) < value:
        level += 1
    return NormLevel(base * 2.0 ** (level - 1), delta / (level * (level + 1)))


def level_of(
    probe: Tensor, norm: float | None, delta: float, radius: float, name: str = "probe"
) -> NormLevel:
    """Return the norm fixed in advance, if the probe obeys it, or else the level of the grid.

    The grid begins at 1 / radius, the least norm with which a probe can reach a label of norm one.
    """
    value = float(torch.linalg.matrix_norm(probe.detach().double()))
    if norm is None:
        return norm_level(value, delta, base=1 / radius)
    if value > validation.positive("norm", norm) * (1 + 1e-12):
        raise ValueError(f"norm must be at least that of the {name}, {value:g}, got {norm:g}")
    return NormLevel(float(norm), validation.probability("delta", delta))

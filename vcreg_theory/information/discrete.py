"""Information in a table of probabilities, and what a decoder makes of it."""

import torch
from torch import Tensor

from .. import validation
from ..entropy.codes import widened
from .gaussian import DecoderBound

# A table that a user has rounded to float32 still sums to one within it.
_SLACK = 1e-6


def discrete_mutual_information(table: Tensor) -> Tensor:
    r"""Return the information between row and column of a table of probabilities.

    .. math:: I = \sum_{ij} p_{ij} \log \frac{p_{ij}}{p_{i\cdot}\, p_{\cdot j}}

    Parameters
    ----------
    table : Tensor, shape (n, m)
        Joint probabilities, not negative with sum 1.

    Returns
    -------
    Tensor, scalar
        In nats, differentiable where all entries are positive, not negative.

    Raises
    ------
    ValueError
        If an entry is negative or the sum is not 1.

    Notes
    -----
    Claim B4.a. Summed from the terms :math:`p \log(p/q) - p + q \ge 0`, so rounding makes it
    neither negative nor larger than its own size.

    Examples
    --------
    >>> round(float(discrete_mutual_information(torch.eye(2) / 2)), 6)  # log 2
    0.693147
    """
    p = _table(table)
    return _divergence(p, p.sum(1, keepdim=True), p.sum(0)).to(widened(table).dtype)


def discrete_decoder_bound(table: Tensor, decoder: Tensor) -> DecoderBound:
    r"""Return the bound of a decoder of a table, and the divergence by which it misses.

    .. math:: H(Z) + \sum_{ij} p_{ij} \log q_{i \mid j}, \qquad
        \sum_j p_{\cdot j}\, \mathrm{KL}(p_{\cdot \mid j} \,\|\, q_{\cdot \mid j})

    Parameters
    ----------
    table : Tensor, shape (n, m)
        Joint probabilities of a code Z (row) and the other view X' (column).
    decoder : Tensor, shape (n, m)
        Probabilities :math:`q(z \mid x')`: each column sums to 1. Positive wherever the table is.

    Returns
    -------
    DecoderBound
        ``bound`` and ``gap`` in nats, differentiable, each from its own formula; their sum is the
        information.

    Raises
    ------
    ValueError
        If a table is not one, shapes differ, or the decoder excludes a pair that occurs, where the
        bound is minus infinity.

    Notes
    -----
    Claim B4.a.

    Examples
    --------
    >>> found = discrete_decoder_bound(torch.eye(2) / 2, torch.full((2, 2), 0.5))
    >>> [round(float(value), 6) for value in found]  # says nothing, misses log 2
    [0.0, 0.693147]
    """
    p = _table(table)
    q = validation.tensor("decoder", widened(decoder), ndim=2)
    validation.same_shape("table", widened(table), "decoder", q)
    q = _probabilities("decoder", q, dim=0)
    if bool(((p > 0) & (q == 0)).any()):
        raise ValueError("decoder must be positive wherever the table is, got a zero")
    rows = p.sum(1)
    bound = torch.xlogy(p, torch.where(p > 0, q, 1.0)).sum() - torch.xlogy(rows, rows).sum()
    gap = _divergence(p, q, p.sum(0))
    dtype = widened(table).dtype
    return DecoderBound(bound.to(dtype), gap.to(dtype))


def _divergence(p: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Return the Kullback-Leibler divergence of p and a product, of one sum, p zero where it is."""
    q = first * second
    small = q < torch.finfo(p.dtype).tiny  # a product that underflows: one after the other then
    ratio = p / torch.where(p > 0, torch.where(small, first, q), 1.0)
    ratio = ratio / torch.where(small & (p > 0), second, 1.0)
    ratio = torch.where(p > 0, ratio.clamp(max=torch.finfo(p.dtype).max), 1.0)
    return (torch.xlogy(p, ratio) - p + q).clamp(min=0).sum()


def _table(table: Tensor) -> Tensor:
    """Return a joint table in float64."""
    table = validation.tensor("table", widened(table), ndim=2)
    if table.numel() == 0:
        raise ValueError(f"table must have at least one entry, got shape {tuple(table.shape)}")
    return _probabilities("table", table, dim=None)


def _probabilities(name: str, table: Tensor, dim: int | None) -> Tensor:
    """Return probabilities in float64 that sum to one to the last digit, in all or each column."""
    smallest = float(table.detach().min())
    if smallest < 0:
        raise ValueError(f"{name} must not be negative, got {smallest:g}")
    wide = table.double()
    totals = wide.sum() if dim is None else wide.sum(dim)
    worst = float((totals.detach() - 1).abs().max())
    if worst > _SLACK:
        where = "sum to 1" if dim is None else "have columns that sum to 1"
        raise ValueError(f"{name} must {where}, got a sum {worst:g} away from it")
    return wide / totals

"""Median distances between samples, exactly, without a list of all distances."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from .gaussian import variable, width

# Number of distances up to t, the largest of them and the smallest beyond, for each problem.
Count = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
_STEPS = 200  # every second one halves the interval: more than float64 can use
_BLOCK = 1 << 21  # distances held at once for vector variables


def _select(count: Count, high: Tensor, pairs: int) -> Tensor:
    """Return the median of `pairs` distances of several problems, each distance at most `high`.

    The distance of middle rank stays in [low, high]. Both ends move to distances that occur, so
    the search ends after finitely many steps, and early where many distances are equal.
    """
    rank, rounding = (pairs + 1) // 2, 4 * torch.finfo(high.dtype).eps * high
    high, low, fewer = high.clone(), torch.zeros_like(high), torch.zeros_like(high)
    upto = torch.full_like(high, pairs)
    for step in range(_STEPS):
        active = (low < high).nonzero().flatten()
        if len(active) == 0:
            break
        a, b, below, above = low[active], high[active], fewer[active], upto[active]
        share = 0.5 if step % 2 else (rank - 0.5 - below) / (above - below)
        number, largest, beyond = count(a + (b - a) * share, active)
        enough = number >= rank
        low[active] = torch.where(enough, a, beyond)
        fewer[active] = torch.where(enough, below, number)
        high[active] = torch.where(enough, largest, b)
        upto[active] = torch.where(enough, number, above)
    if pairs % 2:
        return high
    number, _, beyond = count(high + rounding, torch.arange(len(high), device=high.device))
    return torch.where(number > rank, high, (high + beyond) / 2)


def _scalar_medians(columns: Tensor) -> Tensor:
    """Return the median distance of each row of (K, n), by counts in sorted order."""
    s = (columns - columns.amin(1, keepdim=True)).sort(1).values
    n = s.shape[1]

    def count(t: Tensor, active: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        rows = s[active]
        ends = torch.searchsorted(rows, rows + t[:, None], right=True)
        largest = (rows.gather(1, ends - 1) - rows).amax(1)
        beyond = rows.gather(1, ends.clamp(max=n - 1)) - rows
        beyond = torch.where(ends < n, beyond, torch.inf).amin(1)
        return (ends.sum(1) - n * (n + 1) // 2).to(s.dtype), largest, beyond

    return _select(count, s[:, -1], n * (n - 1) // 2)


def _vector_median(x: Tensor) -> Tensor:
    """Return the median distance of the rows of (n, d), in blocks of rows."""
    n = len(x)
    size = max(1, _BLOCK // n)

    def count(t: Tensor, _: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        number, largest, beyond = (
            torch.zeros_like(t),
            torch.zeros_like(t),
            torch.full_like(t, torch.inf),
        )
        for i in range(0, n - 1, size):
            d = torch.cdist(x[i : i + size], x[i:], compute_mode="donot_use_mm_for_euclid_dist")
            later = torch.ones_like(d, dtype=torch.bool).triu(1)
            within = later & (d <= t)
            number = number + within.sum()
            largest = torch.maximum(largest, torch.where(within, d, 0).amax())
            beyond = torch.minimum(beyond, torch.where(later & ~within, d, torch.inf).amin())
        return number, largest, beyond

    high = 2.0001 * torch.linalg.vector_norm(x - x.mean(0), dim=1).amax()  # above every distance
    return _select(count, high[None], n * (n - 1) // 2)[0]


@torch.no_grad()
def median_bandwidth(x: Tensor) -> Tensor:
    r"""Return the median distance between two samples.

    .. math:: \operatorname{median}\{\lVert x_i - x_j\rVert : i < j\}

    exactly, as the mean of the two middle distances where their number is even. Scalars cost a sort
    and a few counts, O(n log n); vectors a few passes over the distances, in blocks of rows.

    Parameters
    ----------
    x : Tensor, shape (n,) or (n, d)
        Samples, n at least 2.

    Returns
    -------
    Tensor, shape ()
        In the dtype and on the device of `x`; a constant for autograd.

    Raises
    ------
    ValueError
        If n < 2, an entry is not finite, or the median is zero: half of the pairs are equal, as
        for a constant, for most variables with two values and for a mostly rectified feature.

    Examples
    --------
    >>> median_bandwidth(torch.tensor([0.0, 1.0, 3.0, 7.0]))  # distances 1, 2, 3, 4, 6, 7
    tensor(3.5000)
    """
    return _median("x", x)


@torch.no_grad()
def median_bandwidths(z: Tensor) -> Tensor:
    """Return the median distance of each column, the columns being scalar variables.

    Parameters
    ----------
    z : Tensor, shape (n, K)
        Samples of K scalar variables, n at least 2.

    Returns
    -------
    Tensor, shape (K,)
        `median_bandwidth` of each column.

    Raises
    ------
    ValueError
        As `median_bandwidth`; the message names the columns.

    Examples
    --------
    >>> median_bandwidths(torch.tensor([[0.0, 0.0], [1.0, 2.0], [3.0, 6.0]]))
    tensor([2., 4.])
    """
    z = columns(z)
    medians = _scalar_medians(z.double().T)
    _require_positive("z", medians, " in columns")
    return medians.to(z.dtype)


def columns(z: Any, smallest: int = 2) -> Tensor:
    """Return samples (n, K) of K scalar variables, checked, in float32 at least."""
    checked = variable("z", z, min_rows=smallest)
    if z.ndim != 2:
        raise ValueError(f"z must have 2 dimensions, got shape {tuple(z.shape)}")
    return checked


def _median(name: str, x: Tensor) -> Tensor:
    x = variable(name, x, min_rows=2)
    double = x.double()
    median = _scalar_medians(double.T)[0] if x.shape[1] == 1 else _vector_median(double)
    _require_positive(name, median[None])
    return median.to(x.dtype)


def _require_positive(name: str, medians: Tensor, where: str = "") -> None:
    zero = (medians <= 0).nonzero().flatten().tolist()
    if zero:
        place = f"{where} {zero[:10]}{' ...' if len(zero) > 10 else ''}" if where else ""
        raise ValueError(
            f"{name} has median distance 0{place} (half of its pairs are equal): give a bandwidth"
        )


def given(bandwidth: Any, number: int) -> list[float]:
    """Return `number` positive floats from one number or a sequence of numbers."""
    if isinstance(bandwidth, Tensor) and bandwidth.ndim == 1:
        bandwidth = bandwidth.tolist()
    values = bandwidth if isinstance(bandwidth, tuple | list) else [bandwidth] * number
    if len(values) != number:
        raise ValueError(f"bandwidth must be one number or {number}, got {len(values)} numbers")
    return [width("bandwidth", value) for value in values]


@torch.no_grad()
def resolve(bandwidth: Any, variables: Mapping[str, Tensor]) -> list[float]:
    """Return one bandwidth a variable: what is given, else the median distances."""
    if bandwidth is None:
        return [_median(name, value).item() for name, value in variables.items()]
    return given(bandwidth, len(variables))


def resolve_columns(bandwidth: Any, z: Tensor) -> Tensor:
    """Return one bandwidth a column of (n, K): what is given, else the median distances."""
    if bandwidth is None:
        return median_bandwidths(z.detach()).double()
    return torch.tensor(given(bandwidth, z.shape[1]), dtype=torch.float64, device=z.device)

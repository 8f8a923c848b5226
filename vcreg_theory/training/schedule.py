"""What happens at which step: learning rate, evaluations, order of the images."""

import math

import torch
from torch import Tensor

from .. import seeding, validation


def learning_rate(step: int, total: int, peak: float, warmup: int = 0) -> float:
    r"""Return the step size of one step: linear warm-up, then half a cosine to zero.

    .. math:: \eta_t = \eta \min\Bigl(\frac{t+1}{w}, \,
        \frac12 + \frac12 \cos\frac{\pi (t-w)}{T-w}\Bigr)

    where the first argument counts for :math:`t < w` and the second from then on.

    Parameters
    ----------
    step, total, warmup : int
        The step :math:`t` counted from 0, the number of steps :math:`T`, and :math:`w < T`.
    peak : float
        The largest step size :math:`\eta`.

    Returns
    -------
    float

    Examples
    --------
    >>> [round(learning_rate(t, 6, 1.0, warmup=2), 3) for t in range(6)]
    [0.5, 1.0, 1.0, 0.854, 0.5, 0.146]
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))


def evaluation_steps(total: int, count: int) -> tuple[int, ...]:
    """Return the steps after which a run is evaluated: 0, and a geometric series up to the end.

    The series begins at a sixty-fourth of the run.

    Parameters
    ----------
    total : int
        Steps of the run, zero for one that does not train.
    count : int
        Evaluations wanted, at least 2; fewer come back where steps coincide.

    Returns
    -------
    tuple of int

    Examples
    --------
    >>> evaluation_steps(6400, 5)
    (0, 100, 400, 1600, 6400)
    """
    validation.integer("count", count, at_least=2)
    if total == 0:
        return (0,)
    powers = [k / (count - 2) for k in range(count - 1)] if count > 2 else [1.0]
    first = max(1.0, total / 64)
    return tuple(sorted({0, *(round(first * (total / first) ** power) for power in powers)}))


def epoch_order(n: int, epoch: int, seed: int, device: torch.device | str = "cpu") -> Tensor:
    """Return the order in which an epoch visits the images, the same on every device.

    Parameters
    ----------
    n : int
        Number of images.
    epoch, seed : int
        Each pair has a stream of its own, so that a resumed run needs no state for it.
    device : torch.device or str
        Where the order is wanted.

    Returns
    -------
    Tensor, shape (n,)

    Examples
    --------
    >>> epoch_order(5, 0, seed=0).sort().values.tolist()
    [0, 1, 2, 3, 4]
    """
    generator = seeding.torch_generator(seed, f"order of epoch {epoch}")
    return torch.randperm(n, generator=generator).to(device)

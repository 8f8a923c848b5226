"""What every loss does with its input: checks, working precision, centring, rows of unit length."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from .. import validation

HALF = (torch.float16, torch.bfloat16)
SHORTEST = 1e-12  # a row not longer than this has no direction


def embeddings(*, min_rows: int = 2, **batches: Tensor) -> tuple[Tensor, ...]:
    """Return batches of one shape (n, d) in float32 at least, checked for all but their values."""
    checked = {}
    for name, z in batches.items():
        z = z.float() if isinstance(z, Tensor) and z.dtype in HALF else z
        checked[name] = validation.tensor(name, z, ndim=2, min_rows=min_rows, finite=False)
    (first, za), *others = checked.items()
    for name, z in others:
        validation.same_shape(first, za, name, z)
    if za.shape[1] == 0:
        names = " and ".join(checked)
        raise ValueError(f"{names} must have at least 1 column, got shape {tuple(za.shape)}")
    return tuple(checked.values())


def refuse_nonfinite(loss: Tensor, **batches: Tensor) -> None:
    """Raise ``ValueError`` if the loss is not finite, with the reason.

    Only on the CPU: on a GPU every step of a training would have to wait for the answer.
    """
    if not loss.is_cpu or bool(torch.isfinite(loss.detach())):
        return
    for name, z in batches.items():
        validation.tensor(name, z)
    largest = {name: f"{float(z.detach().abs().max()):.3g}" for name, z in batches.items()}
    sizes = ", ".join(f"{size} in {name}" for name, size in largest.items())
    raise ValueError(
        f"the loss is {float(loss.detach())} although the embeddings are finite: they are too "
        f"large for {loss.dtype} (largest entry {sizes}), or eps is 0 and a coordinate is constant"
    )


def full_precision(z: Tensor) -> AbstractContextManager[object]:
    """Return a context in which autocast leaves the arithmetic of `z`'s device alone."""
    device = z.device.type
    if device != "meta" and torch.is_autocast_enabled(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()


def centre(z: Tensor) -> tuple[Tensor, Tensor]:
    """Return `z` less its column means, and the column sums of its squares."""
    centred = z - z.mean(0)
    return centred, (centred * centred).sum(0)


def inverse_lengths(squares: Tensor) -> Tensor:
    """Return 1 / length from the squares of lengths; 0 for a row that has no direction."""
    valid = squares > SHORTEST**2
    return torch.where(valid, torch.where(valid, squares, 1.0).rsqrt(), 0.0)


def unit_rows(z: Tensor) -> Tensor:
    """Return the rows at length one, or zero for a row without direction.

    Such a row passes no gradient, where a division by a small length would pass a huge one.
    """
    return z * inverse_lengths((z * z).sum(1, keepdim=True))

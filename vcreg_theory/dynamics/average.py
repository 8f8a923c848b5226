"""A running average of the correlation of network outputs."""

from typing import Any

import torch
from torch import Tensor, nn

from .. import validation


class EMACorrelation(nn.Module):
    r"""Exponential moving average of the correlation matrix of a stream of batches.

    .. math:: F_1 = \tfrac1B Z_1^\top Z_1, \qquad
        F_t = \rho F_{t-1} + (1 - \rho)\, \tfrac1B Z_t^\top Z_t

    The mean is not subtracted, and the first value is the first batch's own, so nothing needs a
    correction of bias. The average is a buffer: it follows ``.to(device)``, and a state dictionary
    resumes it exactly.

    Parameters
    ----------
    rho : float
        Weight :math:`\rho` of the *old* value, in [0, 1); 0 keeps the last batch alone.

    Attributes
    ----------
    value : Tensor, shape (k, k)
        The average; (0, 0) before the first batch.

    Raises
    ------
    ValueError
        If `rho` is outside [0, 1).

    Notes
    -----
    Claim C7. Statistics are taken in float32 at least, without gradient.

    Examples
    --------
    >>> average = EMACorrelation(0.5)
    >>> _ = average.update(torch.eye(2)), average.update(2 * torch.eye(2))
    >>> average.value
    tensor([[1.2500, 0.0000],
            [0.0000, 1.2500]])
    >>> average.effective_batches
    3.0
    """

    value: Tensor

    def __init__(self, rho: float):
        super().__init__()
        if not 0 <= validation.real("rho", rho) < 1:
            raise ValueError(f"rho must lie in [0, 1), got {rho!r}")
        self.rho = float(rho)
        self.register_buffer("value", torch.zeros(0, 0))

    @property
    def effective_batches(self) -> float:
        r"""Return the number of independent batches that the average is worth.

        .. math:: 1 \Big/ \sum_i w_i^2 = \frac{1 + \rho}{1 - \rho},
            \qquad w_i = (1 - \rho)\rho^i,

        the inverse of the sum of squared weights once the first batch is forgotten.
        """
        return (1 + self.rho) / (1 - self.rho)

    @torch.no_grad()
    def update(self, z: Tensor) -> Tensor:
        """Take in a batch of outputs, shape (B, k), and return the new average, shape (k, k)."""
        z = _outputs(z)
        if self.value.numel() and self.value.shape[0] != z.shape[1]:
            wanted = self.value.shape[0]
            raise ValueError(f"z must have {wanted} columns, got shape {tuple(z.shape)}")
        with torch.autocast(z.device.type, enabled=False):
            batch = z.T @ z / z.shape[0]
            if self.value.numel():
                batch = torch.lerp(batch, self.value.to(batch), self.rho)
        self.value = batch
        return self.value

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        """Take the shape and dtype of a stored average before its entries are copied."""
        stored = state_dict.get(f"{prefix}value")
        if stored is not None:
            self.value = torch.empty_like(stored, device=self.value.device)
        super()._load_from_state_dict(state_dict, prefix, *args)


def _outputs(z: Tensor) -> Tensor:
    """Return a batch of outputs in float32 at least, detached and checked."""
    if isinstance(z, Tensor) and z.dtype in (torch.float16, torch.bfloat16):
        z = z.float()
    validation.tensor("z", z, ndim=2, min_rows=1)
    if z.shape[1] == 0:
        raise ValueError(f"z must have at least 1 column, got shape {tuple(z.shape)}")
    return z.detach()

"""The losses as modules, which hold the options and return the scalar."""

from collections.abc import Callable
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from .. import validation
from .barlow_twins import barlow_twins_loss
from .entropy_losses import vicreg_logdet_loss, vicreg_pairdist_loss
from .infonce import infonce_loss
from .regression import regression_loss
from .vicreg import vcreg_loss, vicreg_loss
from .wmse import wmse_loss


class _Terms(Protocol):
    """What a loss function returns: the loss, among its terms."""

    @property
    def loss(self) -> Tensor: ...


class _Loss(nn.Module):
    """Hold the options of a loss function; refuse bad ones when built."""

    function: ClassVar[Callable[..., _Terms]]
    views: ClassVar[int] = 2

    def __init__(self, **options: Any):
        super().__init__()
        self.options = options
        type(self).function(*[self._example()] * self.views, **options)

    def _example(self) -> Tensor:
        """Return a batch on which every admissible choice of options has a loss."""
        return torch.tensor([[-1.0], [1.0]])

    def forward(self, *embeddings: Tensor) -> Tensor:
        """Return the loss of embeddings of shape (n, d)."""
        return type(self).function(*embeddings, **self.options).loss

    def extra_repr(self) -> str:
        """Return the options that were given."""
        return ", ".join(f"{name}={value!r}" for name, value in self.options.items())


class VICRegLoss(_Loss):
    """Return the scalar VICReg loss of two batches; the arguments are those of `vicreg_loss`.

    Examples
    --------
    >>> z = torch.eye(3)
    >>> VICRegLoss(invariance=1.0)(z, z).ndim
    0
    """

    function = staticmethod(vicreg_loss)


class VCRegLoss(_Loss):
    """Return the scalar VCReg loss of one batch; the arguments are those of `vcreg_loss`.

    Examples
    --------
    >>> VCRegLoss(variance=1.0)
    VCRegLoss(variance=1.0)
    """

    function = staticmethod(vcreg_loss)
    views = 1


class VICRegLogDetLoss(_Loss):
    """Return the scalar of `vicreg_logdet_loss`, whose arguments it takes.

    Examples
    --------
    >>> z = torch.eye(3)
    >>> VICRegLogDetLoss(entropy=0.0)(z, z).item()
    0.0
    """

    function = staticmethod(vicreg_logdet_loss)


class VICRegPairDistLoss(_Loss):
    """Return the scalar of `vicreg_pairdist_loss`, whose arguments it takes.

    Examples
    --------
    >>> z = torch.eye(3)
    >>> VICRegPairDistLoss(entropy=0.0, hinge=0.0)(z, z).item()
    0.0
    """

    function = staticmethod(vicreg_pairdist_loss)


class BarlowTwinsLoss(_Loss):
    """Return the scalar Barlow Twins loss; the arguments are those of `barlow_twins_loss`.

    Examples
    --------
    >>> z = torch.tensor([[-1.0], [1.0]])
    >>> round(BarlowTwinsLoss()(z, -z).item(), 3)
    4.0
    """

    function = staticmethod(barlow_twins_loss)


class WMSELoss(_Loss):
    """Return the scalar W-MSE loss of two batches; the arguments are those of `wmse_loss`.

    Examples
    --------
    >>> z = torch.tensor([[-1.0], [1.0]])
    >>> round(WMSELoss()(z, -z).item(), 3)
    4.0
    """

    function = staticmethod(wmse_loss)

    def _example(self) -> Tensor:
        rows = self.options.get("sub_batch")
        rows = 2 if rows is None else validation.integer("sub_batch", rows, at_least=2)
        return torch.arange(float(rows))[:, None]


class InfoNCELoss(_Loss):
    """Return the scalar contrastive loss; the arguments are those of `infonce_loss`.

    Examples
    --------
    >>> z = torch.eye(2)
    >>> InfoNCELoss(temperature=0.1)(z, z).item() < InfoNCELoss(temperature=1.0)(z, z).item()
    True
    """

    function = staticmethod(infonce_loss)


class RegressionLoss(_Loss):
    """Return the scalar regression loss; the arguments are those of `regression_loss`.

    Examples
    --------
    >>> z = torch.eye(2)
    >>> RegressionLoss()(z, -z).item()
    4.0
    """

    function = staticmethod(regression_loss)

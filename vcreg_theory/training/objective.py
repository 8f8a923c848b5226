"""What a method minimises: the networks of a training step and the loss of two views."""

import copy
import math
from typing import Any, NamedTuple, TypedDict

import torch
from torch import Tensor, nn

from .. import losses, models
from ..dynamics import directset_predictor
from .methods import Method
from .networks import Network, part_seed


class RegressionTerms(NamedTuple):
    """The regression loss, summed over both directions, and the spread of the embeddings.

    `spread` is the root mean square distance of unit embeddings from their mean: 0 on collapse,
    at most 1.
    """

    loss: Tensor
    spread: Tensor


class Objective(nn.Module):
    r"""The networks of one method and its loss.

    Parameters
    ----------
    network : Network
        Encoder and projector, trained in place.
    method : Method
        What to minimise.
    loss_options : dict
        Keyword arguments of the loss, over those of the method.
    width : int
        Width of the embeddings.
    joint_views : bool
        Whether both views pass the network as one batch.
    seed : int
        Seed of a learned predictor.

    Notes
    -----
    Claims C7 and C9. A set predictor at step t comes from the embeddings of the steps before t, so
    its batch is independent of the batch that gives the gradient; at the first step it is the
    identity. The target network and the set predictor change in `after_step` only.
    """

    def __init__(
        self,
        network: Network,
        method: Method,
        *,
        loss_options: dict[str, Any] | None = None,
        width: int,
        joint_views: bool = False,
        seed: int = 0,
    ):
        super().__init__()
        self.network = network
        self.method = method
        self.joint_views = joint_views
        self.loss_options = {**method.loss_options, **(loss_options or {})}
        self.target = None
        if method.target == "ema":
            self.target = copy.deepcopy(network).requires_grad_(False)
        self.predictor = self._make_predictor(width, seed)

    def _make_predictor(self, width: int, seed: int) -> nn.Module:
        options = self.method.predictor_options
        if self.method.predictor == "mlp":
            hidden = max(1, round(options.get("hidden", 1.0) * width))
            return models.projector((width, hidden, width), seed=part_seed(seed, "predictor"))
        if self.method.predictor == "directset":
            return SetPredictor(width, **{**options, **self.loss_options})
        return nn.Identity()

    def forward(self, xa: Tensor, xb: Tensor) -> tuple[Tensor, ...]:
        """Return the loss of two views and its terms, as a named tuple of scalars."""
        za, zb = self._embed(self.network, xa, xb)
        if self.method.loss:
            za, zb = (losses.gather(_full(z)) for z in (za, zb))
            terms: tuple[Tensor, ...] = getattr(losses, self.method.loss)(
                za, zb, **self.loss_options
            )
            return terms
        return self._regress(xa, xb, za, zb)

    def _embed(self, network: nn.Module, xa: Tensor, xb: Tensor) -> tuple[Tensor, Tensor]:
        """Return the embeddings of both views, centred over all processes where the method asks."""
        if self.joint_views:
            za, zb = network(torch.cat([xa, xb])).chunk(2)
        else:
            za, zb = network(xa), network(xb)
        if not self.method.centred:
            return za, zb
        za, zb = _full(za), _full(zb)
        return za - losses.gather(za).mean(0), zb - losses.gather(zb).mean(0)

    def _regress(self, xa: Tensor, xb: Tensor, za: Tensor, zb: Tensor) -> RegressionTerms:
        ta, tb = za, zb
        if self.target is not None:
            with torch.no_grad():
                ta, tb = self._embed(self.target, xa, xb)
        pa, pb = self.predictor(za), self.predictor(zb)
        pa, pb, ta, tb, za, zb = (losses.gather(_full(z)) for z in (pa, pb, ta, tb, za, zb))
        forth, back = losses.regression_loss(pa, tb), losses.regression_loss(pb, ta)
        if isinstance(self.predictor, SetPredictor):
            self.predictor.observe(za.detach(), zb.detach())
        return RegressionTerms(forth.loss + back.loss, spread(za.detach()))

    @torch.no_grad()
    def after_step(self, step: int, total: int) -> None:
        """Move the target network and the set predictor after one step of the optimiser."""
        if isinstance(self.predictor, SetPredictor):
            self.predictor.update()
        if self.target is None:
            return
        decay = self.decay(step, total)
        new: list[Tensor] = list(self.network.parameters())
        old: list[Tensor] = list(self.target.parameters())
        torch._foreach_lerp_(old, new, 1 - decay)

    def decay(self, step: int, total: int) -> float:
        """Return the decay of the target network after one step."""
        first, last = self.method.decay, self.method.final_decay
        return last - (last - first) * 0.5 * (1 + math.cos(math.pi * step / total))


class _Options(TypedDict):
    """Options of `directset_predictor`."""

    alpha: float
    eps: float
    normalize: str | None


class SetPredictor(nn.Module):
    r"""A linear predictor that is set from the correlation of the embeddings, without a gradient.

    .. math:: \hat F \leftarrow \rho \hat F + (1 - \rho)\, \frac{1}{2n}
        \sum_i (z_i z_i^\top + z'_i z_i'^\top), \qquad
        W_p = (\hat F / \lVert \hat F \rVert_2)^\alpha + \epsilon I .

    Parameters
    ----------
    width : int
        Width of the embeddings.
    alpha, eps, normalize
        As in `directset_predictor`.
    rho : float
        Weight of the old correlation, in [0, 1); the first batch is taken as it is.
    """

    matrix: Tensor
    correlation: Tensor
    batches: Tensor

    def __init__(
        self, width: int, *, alpha: float, eps: float, rho: float, normalize: str | None = None
    ):
        super().__init__()
        self.options: _Options = {"alpha": alpha, "eps": eps, "normalize": normalize}
        self.rho = rho
        self.register_buffer("matrix", torch.eye(width))
        self.register_buffer("correlation", torch.zeros(width, width))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))
        self._seen: Tensor | None = None

    def forward(self, z: Tensor) -> Tensor:
        """Return the predictions of embeddings; the matrix is symmetric."""
        with torch.autocast(z.device.type, enabled=False):
            return z @ self.matrix

    def observe(self, za: Tensor, zb: Tensor) -> None:
        """Note the correlation of one batch for the next `update`.

        What is not finite counts as zero: the step's loss is not finite either and ends the run,
        whereas the eigenvalues would fail here with a message about neither.
        """
        with torch.autocast(za.device.type, enabled=False):
            seen = (za.T @ za + zb.T @ zb) / (2 * len(za))
            self._seen = torch.nan_to_num(seen, nan=0.0, posinf=0.0, neginf=0.0)

    def update(self) -> None:
        """Take the noted batch into the correlation and set the matrix from it."""
        if self._seen is None:
            return
        old = torch.where(self.batches > 0, self.rho, 0.0)
        self.correlation.copy_(old * self.correlation + (1 - old) * self._seen)
        self.batches += 1
        self._seen = None
        self.matrix.copy_(directset_predictor(self.correlation, check=False, **self.options))


def _full(z: Tensor) -> Tensor:
    """Return embeddings in float32 at least: what comes out of autocast is in half precision."""
    return z.float() if z.dtype in (torch.float16, torch.bfloat16) else z


def spread(z: Tensor) -> Tensor:
    """Return the root mean square distance of unit embeddings from their mean."""
    unit = nn.functional.normalize(z, dim=1)
    return (1 - unit.mean(0).square().sum()).clamp(min=0).sqrt()

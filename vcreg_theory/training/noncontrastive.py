"""Non-contrastive training of a small network in memory, where every part can be left out."""

import copy
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .. import validation
from ..datasets import ViewDataset
from ..dynamics import EMACorrelation, directset_predictor
from ..losses import regression_loss
from ..readout import features
from .objective import spread

LOSSES = ("cosine", "euclidean")


@dataclass(frozen=True)
class SetRule:
    r"""A predictor set from a running correlation: see `directset_predictor` and `EMACorrelation`.

    .. math:: W_p = (\hat F / \lVert \hat F \rVert)^\alpha + \epsilon I

    `rho` is the weight of the old value. At step t the average holds the batches before t, so that
    predictor and gradient come from independent batches (claim C7.c); it starts as the identity.
    """

    alpha: float = 1.0
    eps: float = 0.1
    rho: float = 0.5
    normalize: str | None = "spectral"


class EpochMeans(NamedTuple):
    """Means over an epoch of loss, `spread` (see `objective.spread`) and mean squared length."""

    loss: float
    spread: float
    squared_length: float


class Trained(NamedTuple):
    """The network in evaluation mode, the predictor of shape (k, k), and one entry an epoch."""

    network: nn.Module
    predictor: Tensor
    history: list[EpochMeans]


def train_noncontrastive(
    network: nn.Module,
    dataset: ViewDataset,
    *,
    generator: torch.Generator,
    epochs: int,
    predictor: SetRule | str | None = SetRule(),
    stop_gradient: bool = True,
    loss: str = "cosine",
    target_decay: float | None = None,
    centred: bool = False,
    batch_size: int = 100,
    learning_rate: float = 0.03,
    momentum: float = 0.9,
    weight_decay: float = 4e-4,
) -> Trained:
    r"""Train a network in place so that the embedding of each view predicts that of the other.

    .. math:: L = \tfrac12\, \mathbb E \bigl[\ell(W_p z, z'_a) + \ell(W_p z', z_a)\bigr], \qquad
        \ell(p, t) = 2 - 2 \cos(p, t) \;\text{ or }\; \tfrac12 \lVert p - t \rVert^2,

    for embeddings z, z' of two views, and :math:`z_a, z'_a` those of the target (claim C9).

    Parameters
    ----------
    network : nn.Module
        From images to embeddings of shape (n, k), in float32.
    dataset : ViewDataset
        Training images and their views, on the device of the network.
    generator : torch.Generator
        Draws batches and views; on that device as well.
    epochs : int
        Passes over the images; a last incomplete batch is left out.
    predictor : SetRule, "learned" or None
        Set; or a matrix that starts as the identity and is trained as well; or :math:`W_p = I`.
    stop_gradient : bool
        Whether the target is held fixed in the gradient.
    loss : {"cosine", "euclidean"}
        The second is that of the linear theory, claim C1.a.
    target_decay : float, optional
        Decay, in [0, 1), of an average of the weights that is the target; else it is the network.
    centred : bool
        Whether embeddings are centred on the batch, each view and network on its own.
    batch_size, learning_rate, momentum, weight_decay
        Of stochastic gradient descent; the two views of a batch pass the network as one.

    Returns
    -------
    Trained

    Raises
    ------
    ValueError, FloatingPointError
        If an option is out of range or exceeds the images; if embeddings are not finite.

    Examples
    --------
    >>> from vcreg_theory import datasets, models
    >>> net = nn.Sequential(nn.Flatten(), models.projector([64, 16], seed=0))
    >>> found = train_noncontrastive(net, datasets.digit_views(), epochs=2,
    ...                              generator=torch.Generator().manual_seed(0))
    >>> found.history[1].loss < found.history[0].loss, found.predictor.shape
    (True, torch.Size([16, 16]))
    """
    validation.integer("epochs", epochs, at_least=1)
    validation.integer("batch_size", batch_size, at_least=2)
    if len(dataset) < batch_size:
        raise ValueError(f"dataset must hold a batch of {batch_size} images, got {len(dataset)}")
    width = features(network, dataset.train.images[:1]).shape[1]
    step = _Step(network, width, predictor, stop_gradient, loss, target_decay, centred)
    optimizer = torch.optim.SGD(
        [p for p in step.parameters() if p.requires_grad],
        lr=learning_rate,
        momentum=momentum,
        weight_decay=weight_decay,
    )
    step.to(dataset.device).train()
    history, steps = [], len(dataset) // batch_size
    for epoch in range(epochs):
        order = torch.randperm(len(dataset), generator=generator, device=dataset.device)
        means = []
        for k, rows in enumerate(order[: steps * batch_size].split(batch_size)):
            terms = step(*dataset.two_views(rows, generator))
            if terms is None:
                raise FloatingPointError(f"embeddings are not finite at step {epoch * steps + k}")
            optimizer.zero_grad(set_to_none=True)
            terms[0].backward()
            optimizer.step()
            step.after()
            means.append(torch.stack(terms).detach())
        history.append(EpochMeans(*torch.stack(means).mean(0).tolist()))
    return Trained(network.eval(), step.predictor.detach().clone(), history)


class _Step(nn.Module):
    """What one step needs: the network, the target and the predictor."""

    def __init__(
        self,
        network: nn.Module,
        width: int,
        rule: Any,
        stop: bool,
        loss: str,
        decay: Any,
        mid: bool,
    ):
        super().__init__()
        if not (rule is None or rule == "learned" or isinstance(rule, SetRule)):
            raise ValueError(f"predictor must be a SetRule, 'learned' or None, got {rule!r}")
        if decay is not None and not (stop and 0 <= validation.real("target_decay", decay) < 1):
            raise ValueError(f"target_decay must be in [0, 1), with stop_gradient, got {decay!r}")
        self.network, self.rule, self.decay, self.centred = network, rule, decay, mid
        self.euclidean = validation.member("loss", loss, LOSSES) == "euclidean"
        self.stop_gradient = stop
        self.target = None if decay is None else copy.deepcopy(network).requires_grad_(False)
        self.predictor = nn.Parameter(torch.eye(width), requires_grad=rule == "learned")
        self.average = EMACorrelation(rule.rho) if isinstance(rule, SetRule) else None

    def forward(self, xa: Tensor, xb: Tensor) -> tuple[Tensor, ...] | None:
        """Return loss, spread and mean squared length, or nothing if they are no numbers."""
        x = torch.cat([xa, xb])
        z = self.embed(self.network, x)
        with torch.no_grad():
            t = z if self.target is None else self.embed(self.target, x)
        p, t = z @ self.predictor.T, t.roll(len(xa), 0)  # the other view of each image
        if not bool(torch.isfinite(p.detach().sum() + t.detach().sum())):
            return None
        t = t.detach() if self.stop_gradient else t
        if self.euclidean:
            loss = (p - t).square().sum(1).mean() / 2
        else:
            loss = regression_loss(p, t, stop_gradient=self.stop_gradient).loss
        self.seen = z.detach()
        return loss, spread(self.seen), self.seen.square().sum(1).mean()

    def embed(self, network: nn.Module, x: Tensor) -> Tensor:
        """Return the embeddings of both views, one below the other."""
        z: Tensor = network(x).unflatten(0, (2, -1))
        return (z - z.mean(1, keepdim=True) if self.centred else z).flatten(0, 1)

    @torch.no_grad()
    def after(self) -> None:
        """Move the target and the set predictor after a step of the optimiser."""
        if self.average is not None:
            corr, rule = self.average.update(self.seen), self.rule
            options = {"eps": rule.eps, "normalize": rule.normalize, "check": False}
            if bool(corr.any()):  # after a collapse to zero there is nothing to set it from
                self.predictor.copy_(directset_predictor(corr, rule.alpha, **options))
        if self.target is not None:
            old: list[Tensor] = list(self.target.parameters())
            new: list[Tensor] = list(self.network.parameters())
            torch._foreach_lerp_(old, new, 1 - self.decay)

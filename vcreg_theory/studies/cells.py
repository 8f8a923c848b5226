"""A cell of a study: a projector and the weight of the covariance term, and its training."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from torch import Tensor, nn

from .. import losses, models, validation
from ..training import Epoch, Views, train_vicreg
from ..training.networks import part_seed

KINDS = ("none", "random", "learned", "elementwise")


@dataclass(frozen=True)
class Cell:
    """A projector and the coefficient of the covariance term of the VICReg loss.

    Parameters
    ----------
    name : str
        Short name, unique in its study.
    kind : {"none", "random", "learned", "elementwise"}
        "random" and "learned" are of equal shape and start: dense layers, each with BatchNorm,
        offsets and units; "random" is frozen. "elementwise" is a random projector that sees each
        feature alone.
    width : int
        Outputs of every layer; for "elementwise" of all features together.
    depth : int
        Dense layers.
    coefficient : float
        Weight of the covariance term; those of invariance and variance are 25.
    batch_norm : bool
        Whether BatchNorm precedes the units of a dense projector.
    activation : {"relu", "tanh"}
        The units.

    Examples
    --------
    >>> cell = Cell("random-16", "random", 16)
    >>> cell.projector(8, seed=0).out_features, cell.weighted_width
    (16, 16.0)
    """

    name: str
    kind: str
    width: int = 0
    depth: int = 1
    coefficient: float = 1.0
    batch_norm: bool = True
    activation: str = "relu"

    @property
    def weighted_width(self) -> float:
        """Coefficient times width: what claim A7.b says should be equal when widths compare."""
        return self.coefficient * self.width

    def projector(self, dim: int, *, seed: int) -> nn.Module:
        """Return the untrained projector behind `dim` features."""
        validation.member("kind", self.kind, KINDS)
        if self.kind == "none":
            return nn.Identity()
        draw = part_seed(seed, "projector")
        if self.kind == "elementwise":
            if self.width % dim:
                raise ValueError(f"width must be a multiple of {dim} features, got {self.width}")
            return models.elementwise_projector(
                dim, self.width // dim, seed=draw, activation=self.activation
            )
        return models.projector(
            (dim, *(self.width,) * self.depth),
            seed=draw,
            batch_norm=self.batch_norm,
            activation=self.activation,
            final="activation",
            frozen=self.kind == "random",
            bias=1.0,
        )


class Trained(NamedTuple):
    """An encoder after training, in evaluation mode, its projector, and one entry an epoch."""

    encoder: nn.Module
    projector: nn.Module
    history: list[Epoch]

    @property
    def fingerprint(self) -> str:
        """The sha256 of the encoder's weights."""
        return models.fingerprint(self.encoder)


def train(
    cell: Cell,
    encoder: Callable[[int], models.Network],
    images: Tensor,
    views: Views,
    *,
    seed: int,
    epochs: int,
    batch_size: int,
    learning_rate: float = 2e-3,
) -> Trained:
    """Train an encoder with the projector of a cell behind it.

    Parameters
    ----------
    cell : Cell
        Projector and coefficient.
    encoder : callable
        ``encoder(seed)`` returns the untrained encoder: the same for all cells of a seed.
    images, views, epochs, batch_size, learning_rate
        As in `training.train_vicreg`.
    seed : int
        Seed of encoder, projector, batches and views, each from a stream of its own.

    Returns
    -------
    Trained

    Raises
    ------
    ValueError, FloatingPointError
        As `training.train_vicreg`, and if the cell cannot be built.

    Examples
    --------
    >>> import torch
    >>> x = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
    >>> found = train(Cell("none", "none"), lambda seed: models.projector((3, 8, 4), seed=seed), x,
    ...               lambda x, generator: x, seed=0, epochs=2, batch_size=32)
    >>> len(found.history), found.encoder(x).shape
    (2, torch.Size([64, 4]))
    """
    network = encoder(part_seed(seed, "encoder"))
    projector = cell.projector(network.out_features, seed=seed)
    history = train_vicreg(
        nn.Sequential(network, projector),
        images,
        views,
        epochs=epochs,
        seed=seed,
        batch_size=batch_size,
        learning_rate=learning_rate,
        loss=partial(losses.vicreg_loss, covariance=cell.coefficient),
    )
    return Trained(network, projector, history)

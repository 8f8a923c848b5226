"""The network that a run trains and stores: an encoder with a projector behind it."""

from typing import Any

from torch import Tensor, nn

from .. import models, seeding
from . import methods
from .config import RunConfig


class Network(nn.Module):
    """An encoder and a projector.

    Parameters
    ----------
    encoder : nn.Module
        Maps images in [0, 1] to representations; has ``out_features``.
    projector : nn.Module
        Maps representations to embeddings.

    Examples
    --------
    >>> import torch
    >>> network = Network(nn.Flatten(), nn.Linear(4, 3))
    >>> network(torch.zeros(5, 1, 2, 2)).shape
    torch.Size([5, 3])
    """

    def __init__(self, encoder: nn.Module, projector: nn.Module):
        super().__init__()
        self.encoder = encoder
        self.projector = projector

    def forward(self, images: Tensor) -> Tensor:
        """Return the embeddings of images."""
        embeddings: Tensor = self.projector(self.encoder(images))
        return embeddings


def part_seed(seed: int, part: str) -> int:
    """Return a seed for one part of a network, so that no two parts share random numbers."""
    return int(seeding.numpy_generator(seed, f"seed of the {part}").integers(2**31))


def build(config: RunConfig) -> Network:
    """Return the untrained network of a run, in float32 on the CPU.

    Parameters
    ----------
    config : RunConfig
        The configuration; its seed draws the weights.

    Returns
    -------
    Network

    Raises
    ------
    ValueError
        If `vcreg_theory.models` has no such encoder.
    """
    constructor = getattr(models, config.encoder, None)
    if constructor is None:
        raise ValueError(f"encoder must be a constructor in models, got {config.encoder!r}")
    encoder = constructor(**_tuples(config.encoder_options), seed=part_seed(config.seed, "encoder"))
    if not config.projector:
        return Network(encoder, nn.Identity())
    method = methods.get(config.method)
    projector = models.projector(
        (encoder.out_features, *config.projector),
        seed=part_seed(config.seed, "projector"),
        frozen=method.frozen_projector,
        # Random weights without units behind them would only mix the coordinates again.
        final="activation" if method.frozen_projector else "linear",
    )
    return Network(encoder, projector)


def _tuples(options: dict[str, Any]) -> dict[str, Any]:
    """Return options with lists, which JSON knows, as tuples, which constructors expect."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}

"""VICReg training of a small encoder in memory: deterministic, on CPU or GPU."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .. import seeding, validation
from ..losses import VICRegTerms, vicreg_loss

Views = Callable[..., Tensor]
"""A function of images and a keyword `generator`; it returns one random view of each image."""


class Epoch(NamedTuple):
    """Means over one epoch of the loss and its unweighted terms."""

    loss: float
    invariance: float
    variance: float
    covariance: float


def train_vicreg(
    encoder: nn.Module,
    images: Tensor,
    views: Views,
    *,
    epochs: int,
    seed: int,
    batch_size: int = 100,
    learning_rate: float = 3e-3,
    loss: Callable[[Tensor, Tensor], VICRegTerms] = vicreg_loss,
) -> list[Epoch]:
    """Train an encoder in place with the VICReg loss and Adam.

    Parameters
    ----------
    encoder : nn.Module
        Network from images to embeddings; left in evaluation mode.
    images : Tensor, shape (n, ...)
        Training images, on the device of the encoder.
    views : callable
        ``views(images, generator=...)`` draws one random view of each image.
    epochs : int
        Passes over the images, at least 1.
    seed : int
        Seed of batches and views.
    batch_size : int
        Images a step, at least 2; a last incomplete batch is left out.
    learning_rate : float
        Step size of Adam, decayed to zero along a cosine.
    loss : callable
        Maps two batches of embeddings to `VICRegTerms`.

    Returns
    -------
    list of Epoch

    Raises
    ------
    ValueError
        If there are fewer images than one batch, or an option is out of range.
    FloatingPointError
        If the loss is not finite; the message holds the step and the terms.

    Examples
    --------
    >>> from vcreg_theory import models
    >>> x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0)).double()
    >>> net = models.mlp([4, 8, 2], seed=0)
    >>> noisy = lambda x, generator: x + 0.1 * torch.randn(
    ...     x.shape, generator=generator, dtype=x.dtype)
    >>> history = train_vicreg(net, x, noisy, epochs=20, seed=0, batch_size=32)
    >>> history[-1].loss < history[0].loss
    True
    """
    validation.integer("epochs", epochs, at_least=1)
    validation.integer("batch_size", batch_size, at_least=2)
    validation.positive("learning_rate", learning_rate)
    if len(images) < batch_size:
        raise ValueError(f"images must hold at least one batch of {batch_size}, got {len(images)}")
    generator = seeding.torch_generator(seed, "training", images.device)
    optimizer = torch.optim.Adam(encoder.parameters(), lr=learning_rate)
    steps = len(images) // batch_size
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * steps)
    encoder.train()
    history = []
    for epoch in range(epochs):
        order = torch.randperm(len(images), generator=generator, device=images.device)
        terms = []
        for step in range(steps):
            batch = images[order[step * batch_size : (step + 1) * batch_size]]
            za, zb = (encoder(views(batch, generator=generator)) for _ in range(2))
            found = loss(za, zb)
            _refuse_nonfinite(found, epoch * steps + step)
            optimizer.zero_grad(set_to_none=True)
            found.loss.backward()
            optimizer.step()
            schedule.step()
            terms.append(torch.stack([term.detach() for term in found]))
        history.append(Epoch(*torch.stack(terms).mean(0).tolist()))
    encoder.eval()
    return history


def _refuse_nonfinite(terms: VICRegTerms, step: int) -> None:
    if not bool(torch.isfinite(terms.loss)):
        values = ", ".join(f"{k} {v.item():.3g}" for k, v in terms._asdict().items())
        raise FloatingPointError(f"the loss is not finite at step {step}: {values}")

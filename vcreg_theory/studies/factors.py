"""The study of projectors (claims A7.c to A7.e): eight factors, mixed, and twenty projectors.

Design, fixed before its result was seen. Data: eight independent uniform factors through one fixed
leaky ReLU network to 32 coordinates of variance one; 4,096 training samples a seed. Views: Gaussian
noise of deviation 0.1. Encoder: two hidden layers of 128 with BatchNorm, 16 features. Loss: VICReg
with weights 25, 25 and the cell's coefficient; Adam at 0.002, decayed along a cosine, 16 epochs of
16 batches of 256. Dependence is measured on 1,000 fresh samples before and after. Seeds 100 to 107;
a seed draws data, encoder, projector, batches and views, the same for all cells as far as they
share them.
"""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from .. import models, seeding, validation
from ..readout import features
from ..training.networks import part_seed
from .cells import Cell, Trained, train
from .signals import Signals, dependence
from .study import Study

SEEDS = tuple(range(100, 108))
FACTORS, COORDINATES, FEATURES = 8, 32, 16
NOISE, SAMPLES, FRESH = 0.1, 4096, 1000
SCHEDULE: dict[str, Any] = {"epochs": 16, "batch_size": 256, "learning_rate": 2e-3}

CELLS = (
    Cell("none", "none"),
    *(Cell(f"random-{p}", "random", p) for p in (16, 64, 512)),
    *(Cell(f"random-{p}-matched", "random", p, coefficient=512 / p) for p in (16, 64)),
    Cell("random-512-weak", "random", 512, coefficient=16 / 512),
    *(Cell(f"random-512x{k}", "random", 512, depth=k) for k in (2, 3)),
    *(Cell(f"learned-512{f'x{k}' * (k > 1)}", "learned", 512, depth=k) for k in (1, 2, 3)),
    *(Cell(f"random-{p}-plain", "random", p, batch_norm=False) for p in (16, 64, 512)),
    Cell("learned-512x2-plain", "learned", 512, depth=2, batch_norm=False),
    Cell("elementwise-512-tanh", "elementwise", 512, activation="tanh"),
    Cell("elementwise-512-relu", "elementwise", 512),
    Cell("elementwise-16-tanh", "elementwise", 16, activation="tanh"),
    Cell("elementwise-16-relu", "elementwise", 16),
)
"""The cells: "matched" has coefficient times width 512, "weak" 16, "plain" no BatchNorm."""


def encoder(seed: int) -> models.Network:
    """Return an untrained encoder."""
    return models.projector((COORDINATES, 128, 128, FEATURES), seed=seed)


def noisy(x: Tensor, *, generator: torch.Generator) -> Tensor:
    """Return one view of each sample."""
    return x + NOISE * torch.randn(x.shape, generator=generator, dtype=x.dtype)


def mixed_factors(n: int, *, seed: int, stream: str = "training") -> Tensor:
    r"""Return samples of the mixture of eight independent uniform factors.

    .. math:: x = D^{-1} (g(s) - m), \qquad s \sim U[-\sqrt 3, \sqrt 3]^8

    with one leaky ReLU network g of widths 8, 32, 32, the same for all seeds, and m and D its mean
    and standard deviations over 4,096 samples that are also the same for all seeds.

    Parameters
    ----------
    n : int
        Number of samples, at least 1.
    seed : int
        Seed of the factors.
    stream : str
        Name of the sample: different names give independent samples.

    Returns
    -------
    Tensor, shape (n, 32)
        float32.

    Raises
    ------
    ValueError
        If `n` is below 1 or `seed` is negative.

    Examples
    --------
    >>> mixed_factors(5, seed=0).shape
    torch.Size([5, 32])
    """
    validation.integer("n", n, at_least=1)
    network = models.mlp((FACTORS, COORDINATES, COORDINATES), seed=0, slope=0.2)
    with torch.no_grad():
        common = network(_uniform(SAMPLES, seeding.torch_generator(0, "scale of the mixture")))
        x: Tensor = network(_uniform(n, seeding.torch_generator(seed, f"{stream} factors")))
    scaled: Tensor = (x - common.mean(0)) / common.std(0)
    return scaled.float()


def _uniform(n: int, generator: torch.Generator) -> Tensor:
    u = torch.rand((n, FACTORS), generator=generator, dtype=torch.float64)
    return 3**0.5 * (2 * u - 1)


def measure(network: torch.nn.Module, *, seed: int) -> Signals:
    """Return the dependence of an encoder's features on fresh data."""
    fresh, other = (
        features(network, mixed_factors(FRESH, seed=seed, stream=stream))
        for stream in ("fresh", "reference")
    )
    return dependence(fresh, other)


@lru_cache(maxsize=8)
def untrained(seed: int) -> Signals:
    """Return the dependence of the features of a seed's encoder before training."""
    return measure(encoder(part_seed(seed, "encoder")), seed=seed)


def train_cell(cell: Cell, *, seed: int) -> Trained:
    """Train one cell with one seed: a row of the study, without its measurements."""
    x = mixed_factors(SAMPLES, seed=seed)
    return train(cell, encoder, x, noisy, seed=seed, **SCHEDULE)


def row(cell: Cell, *, seed: int) -> dict[str, Any]:
    """Return one row of the study: dependence before and after, loss, and hash of the weights."""
    found = train_cell(cell, seed=seed)
    return {
        "before": untrained(seed)._asdict(),
        "after": measure(found.encoder, seed=seed)._asdict(),
        "loss": found.history[-1]._asdict(),
        "weights": found.fingerprint,
    }


STUDY = Study(
    "projectors",
    CELLS,
    SEEDS,
    row,
    {
        **SCHEDULE,
        "factors": FACTORS,
        "coordinates": COORDINATES,
        "features": FEATURES,
        "noise": NOISE,
        "samples": SAMPLES,
        "fresh": FRESH,
    },
)
"""The study as it is run and stored."""

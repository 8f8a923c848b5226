"""Random cases of the risk bounds, and the bound of the risk written out with loops."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vcreg_theory import bounds


class Case(NamedTuple):
    """A finite population with everything known, and rows of it that get a label."""

    population: bounds.Population
    rows: Tensor
    rho: Tensor
    radius: float

    @property
    def sample(self) -> bounds.Population:
        """The labelled sample."""
        return bounds.Population(*(part[self.rows] for part in self.population))


def cases(generator: torch.Generator, number: int) -> Iterator[Case]:
    """Yield clusters with few or many labels, images and features, tight and wide."""
    for _ in range(number):
        k, images, d, n = (
            int(torch.randint(low, high, (1,), generator=generator))
            for low, high in ((2, 6), (2, 25), (1, 30), (5, 60))
        )
        spread = 3 * float(torch.rand(1, generator=generator))
        population = bounds.clusters(k, images, d, spread=spread, generator=generator)
        scale = 10.0 ** (2 * float(torch.rand(1, generator=generator)) - 1)
        shrink = torch.rand(k * images, 1, generator=generator, dtype=torch.float64)
        population = bounds.Population(population.features * shrink * scale, population.labels)
        rows = bounds.draw(population, n, generator=generator)
        rho = bounds.label_frequencies(population.labels, k)
        yield Case(population, rows, rho, float(population.features.norm(dim=1).max()))


def by_loops(case: Case, probe: np.ndarray, delta: float) -> dict[str, float]:
    """Return the terms of the bound by loops over images, from the proof rather than the code."""
    features, labels = (part.numpy() for part in case.population)
    rho, rows = case.rho.numpy(), case.rows.numpy()
    distances = np.linalg.norm(features[:, None] - features[None], axis=-1)
    phi = [float(distances[i][labels == labels[i]].mean()) for i in rows]
    invariance = 0.0
    for y in range(len(rho)):
        own = labels == y
        invariance += rho[y] * float(distances[np.ix_(own, own)].mean())
    counts = [int((labels[rows] == y).sum()) for y in range(len(rho))]
    weights = [rho[labels[i]] / counts[labels[i]] for i in rows]
    errors = [
        float(np.linalg.norm(features[i] @ probe - np.eye(len(rho))[labels[i]])) for i in rows
    ]
    spread = sum(rho[y] ** 2 / c for y, c in enumerate(counts) if c)
    norm = float(np.linalg.norm(probe, 2))
    lost = sum(rho[y] for y, c in enumerate(counts) if not c)
    return {
        "norm": norm,
        "phi": sum(a * p for a, p in zip(weights, phi, strict=True)),
        "invariance": norm * invariance,
        "deviation": norm * 2 * case.radius * math.sqrt(spread * math.log(1 / delta) / 2),
        "training_risk": sum(a * e for a, e in zip(weights, errors, strict=True)),
        "residual": math.sqrt(spread) * math.sqrt(sum(e * e for e in errors)),
        "missing": lost * (norm * case.radius + 1),
        "risk": float(np.mean(np.linalg.norm(features @ probe - np.eye(len(rho))[labels], axis=1))),
    }

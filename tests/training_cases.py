"""A data set and configurations small enough to train in a test."""

from typing import Any

import torch
from torch import Tensor

from vcreg_theory import datasets, seeding
from vcreg_theory.training import RunConfig

ENCODER = {"channels": [4], "dim": 6, "in_channels": 1, "size": 8}


def data(n: int = 96) -> datasets.ViewDataset:
    """Return images of four classes, each a pattern with pixel noise; views add noise."""
    generator = seeding.torch_generator(0, "test data")
    patterns = torch.rand(4, 1, 8, 8, generator=generator)
    parts = []
    for count in (n, 40):
        labels = torch.arange(count) % 4
        noise = 0.2 * torch.rand(count, 1, 8, 8, generator=generator)
        parts.append(datasets.Images(0.8 * patterns[labels] + noise, labels))

    def two_views(rows: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        images = parts[0].images[rows]
        first, second = (
            images + 0.1 * torch.randn(images.shape, generator=generator) for _ in range(2)
        )
        return first, second

    return datasets.ViewDataset("patterns", {"data": f"patterns {n}"}, *parts, two_views)


def config(method: str = "vicreg", **changes: Any) -> RunConfig:
    """Return a run of a few seconds' hundredths: 24 steps of 32 images."""
    values: dict[str, Any] = {
        "encoder_options": ENCODER,
        "projector": (12, 12),
        "epochs": 8,
        "batch_size": 32,
        "learning_rate": 5e-3,
        "weight_decay": 1e-3,
        "warmup_epochs": 1,
        "evaluations": 3,
        "evaluation_options": {"describe_limit": 40},
        "log_every": 5,
    }
    return RunConfig("tiny", method, **{**values, **changes})

"""The loop over encoders and samples."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from ... import seeding, validation
from ..._types import FloatArray
from ..populations import draw
from .cases import case, hidden_reference, setting_of
from .recorded import Encoder

SIZES = (32, 128, 512)
"""Numbers of labels, by default."""

PROVED = ("bound", "hidden_bound", "hidden_complete", "readout_bound", "rademacher_bound")
"""Quantities that bound the risk by a theorem, in this design."""


class Study(NamedTuple):
    """Measured quantities by name, each of shape (encoders, sizes, draws).

    `methods` and `seeds` name the encoders, `checkpoints` are the hashes of their weights.
    """

    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    checkpoints: tuple[str, ...]
    sizes: tuple[int, ...]
    delta: float
    values: dict[str, FloatArray]

    def violations(self, name: str) -> tuple[int, int]:
        """Return in how many cases the risk exceeds a quantity, and the number of cases."""
        exceeded = self.values["risk"] > self.values[name]
        return int(exceeded.sum()), exceeded.size


def evaluate(
    encoders: Sequence[Encoder],
    *,
    sizes: Sequence[int] = SIZES,
    draws: int = 20,
    delta: float = 0.05,
    seed: int = 0,
) -> Study:
    """Return every term and bound, the risk and the gap, of every encoder on every sample.

    Parameters
    ----------
    encoders : sequence of Encoder
        As of `recorded_encoders`, with one population.
    sizes : sequence of int
        Numbers n of labels.
    draws : int
        Samples of each size, at least 1.
    delta : float
        In (0, 1).
    seed : int
        Seed of the samples.

    Returns
    -------
    Study
        Among its quantities: `risk`, `unseen_risk`, `training_risk`, `gap`; the terms of
        `probe_risk_bound` and its `bound`; `main`, its invariance and residual alone; those named
        in `PROVED`; `readout_proxy`, `informal_class` and `informal_view`, which are no theorems;
        and `spectral`, `frobenius`, `path_1`, `path_2`, the leading terms of supervised bounds for
        encoder and probe as one network.

    Raises
    ------
    TypeError, ValueError
        If a number is out of range, there is no encoder, or their populations differ.

    Notes
    -----
    Claim B8.e. The design stands at the head of `vcreg_theory.bounds.study`.

    Examples
    --------
    >>> from vcreg_theory.bounds.study import recorded_encoders
    >>> found = evaluate(recorded_encoders(methods=("vicreg",))[:1], sizes=[128], draws=2)
    >>> found.values["risk"].shape, found.violations("bound")
    ((1, 1, 2), (0, 2))
    """
    sizes = tuple(validation.integer("sizes", n, at_least=1) for n in sizes)
    draws = validation.integer("draws", draws, at_least=1)
    if not encoders or not sizes:
        raise ValueError("encoders and sizes must hold at least 1 entry, got none")
    labels = encoders[0].population.labels
    if not all(torch.equal(encoder.population.labels, labels) for encoder in encoders):
        raise ValueError("encoders must share one population, got different labels")
    generator = seeding.torch_generator(seed, "bounds samples")
    samples = [
        [draw(encoders[0].population, n, generator=generator) for _ in range(draws)] for n in sizes
    ]
    hidden = [
        draw(encoders[0].population, len(encoders[0].hidden.labels), generator=generator)
        for _ in range(draws)
    ]
    cases: dict[str, list[float]] = {}
    for encoder in encoders:
        setting = setting_of(encoder)
        references = [hidden_reference(setting, rows, delta) for rows in hidden]
        for group in samples:
            for rows, reference in zip(group, references, strict=True):
                for name, value in case(setting, rows, reference, delta).items():
                    cases.setdefault(name, []).append(float(value))
    shape = (len(encoders), len(sizes), draws)
    return Study(
        tuple(encoder.method for encoder in encoders),
        tuple(encoder.seed for encoder in encoders),
        tuple(encoder.checkpoint for encoder in encoders),
        sizes,
        validation.probability("delta", delta),
        {name: np.array(values).reshape(shape) for name, values in cases.items()},
    )

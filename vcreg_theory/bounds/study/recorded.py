"""Recorded encoders, each with the features that the study of the bounds needs."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ... import seeding, validation
from ..networks import layer_matrices
from ..populations import Population


class Encoder(NamedTuple):
    """One encoder as the study sees it.

    `population` are features of held-out images, `hidden` those of the images that trained it,
    `views` those of two views of each of the latter; `matrices` are its layers as of
    `layer_matrices`, for inputs of norm at most `input_norm` (the constant coordinate included).
    `checkpoint` is the sha256 of the stored weights and `device` what trained them.
    """

    method: str
    seed: int
    population: Population
    hidden: Population
    views: tuple[Tensor, Tensor]
    matrices: list[Tensor]
    input_norm: float
    checkpoint: str
    device: str


def recorded_encoders(
    suite: str = "digits",
    folder: Path | str | None = None,
    *,
    methods: tuple[str, ...] | None = None,
    seed: int = 0,
) -> list[Encoder]:
    """Return the encoders of a suite's records whose weights were kept.

    Parameters
    ----------
    suite : str
        A suite of one data set and one architecture.
    folder : path, optional
        Folder of the records, by default `records.default_folder`.
    methods : tuple of str, optional
        Only these; all methods by default, untrained encoders ("random") among them.
    seed : int
        Seed of the two views that are drawn of each training image.

    Returns
    -------
    list of Encoder
        By method and seed; features in float64, evaluation mode, images without augmentation
        except in `views`.

    Raises
    ------
    FileNotFoundError
        If there are no records, or weights are missing.
    ValueError
        If weights are not those of the record, or no record has weights.

    Examples
    --------
    >>> encoders = recorded_encoders(methods=("vicreg",))
    >>> [encoder.seed for encoder in encoders], encoders[0].population.features.shape
    ([0, 1, 2], torch.Size([797, 64]))
    """
    validation.integer("seed", seed, at_least=0)
    found = list(_encoders(suite, folder, methods, seed))
    if not found:
        raise ValueError(f"no record of suite {suite!r} and methods {methods} has stored weights")
    return found


def _encoders(
    suite: str, folder: Path | str | None, methods: tuple[str, ...] | None, seed: int
) -> Iterator[Encoder]:
    """Yield the encoders; the data are loaded once."""
    # Only here: the mathematics of this package needs neither records nor training.
    from ... import records
    from ...readout import features
    from ...training import restore

    place = records.default_folder() if folder is None else Path(folder)
    data = None
    for record in records.load(suite, place):
        if record.checkpoint is None or (methods is not None and record.method not in methods):
            continue
        stored = restore(place / f"{record.key}.json", device="cpu", dataset=data)
        if data is None:
            data = stored.dataset
            generator = seeding.torch_generator(seed, "bounds views")
            views = data.two_views(torch.arange(len(data)), generator)
        encoder = stored.network.encoder
        yield Encoder(
            record.method,
            record.seed,
            Population(features(encoder, data.test.images).double(), data.test.labels),
            Population(features(encoder, data.train.images).double(), data.train.labels),
            (features(encoder, views[0]).double(), features(encoder, views[1]).double()),
            layer_matrices(encoder, data.test.images.shape[1:]),
            float((data.test.images.double().flatten(1).square().sum(1).max() + 1).sqrt()),
            record.checkpoint["sha256"],
            record.device,
        )

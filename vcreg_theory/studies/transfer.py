"""The study of transfer (claims A8.a and A8.b): 18 encoders of digits 0 to 4, and what probes read.

Design, fixed before its result was seen. Encoders learn without labels from the training images of
digits 0 to 4: pixels, two hidden layers of 128 with BatchNorm, 32 features; views shift by at most
a pixel and change contrast and pixels; VICReg with weights 25, 25 and the cell's coefficient; Adam
at 0.002, decayed along a cosine, 60 epochs of batches of 100. Five probes: a linear one on held-out
images of digits 0 to 4; the same one on these images with noise; a linear one on digits 5 to 9 with
all labels of the training images; one with five labels a class; and a linear one on MNIST, shrunk
to 8 x 8, with 1,000 labels. Dependence is measured on the held-out images of digits 0 to 4,
whitening fitted to the training images. The configurations with coefficient 0 count as collapsed,
since nothing keeps their features from being copies. Seeds 100 to 105.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from .. import datasets, models, readout, seeding
from ..datasets.digits import shifted
from ..datasets.image_views import balanced_order
from ..datasets.source import Images
from ..training.networks import part_seed
from .cells import Cell, Trained, train
from .signals import dependence
from .study import Study

SEEDS = tuple(range(100, 106))
CLASSES, FEATURES = 5, 32
SHOTS, DRAWS = 5, 20
NOISE = 0.4  # twice the deviation of the noise in the views
SCHEDULE: dict[str, Any] = {"epochs": 60, "batch_size": 100, "learning_rate": 2e-3}
MNIST = {"training": 1000, "test": 2000}
PROBES = ("in_domain", "noise", "unseen", "few_shot", "mnist")

SHAPES: dict[str, dict[str, Any]] = {
    "none": {"kind": "none"},
    "random-64": {"kind": "random", "width": 64},
    "random-512": {"kind": "random", "width": 512},
    "learned-512x2": {"kind": "learned", "width": 512, "depth": 2},
    "elementwise-512-tanh": {"kind": "elementwise", "width": 512, "activation": "tanh"},
}
"""Options of the five projectors, by name."""

_COLLAPSING = ("none", "random-512", "learned-512x2")

CELLS = tuple(
    Cell(f"{name}-c{coefficient:g}", coefficient=coefficient, **shape)
    for name, shape in SHAPES.items()
    for coefficient in ((0.0,) if name in _COLLAPSING else ()) + (0.1, 1.0, 10.0)
)
"""The 18 configurations; the name ends in the coefficient."""


class Part(NamedTuple):
    """Training and held-out images of some classes."""

    train: Images
    test: Images


@lru_cache(maxsize=1)
def digit_parts() -> tuple[Part, Part]:
    """Return digits 0 to 4 and digits 5 to 9."""
    data = datasets.digit_views()

    def part(low: bool) -> Part:
        rows = [(split.labels < CLASSES) == low for split in (data.train, data.test)]
        first, second = zip((data.train, data.test), rows, strict=True)
        return Part(*(Images(s.images[r], s.labels[r]) for s, r in (first, second)))

    return part(True), part(False)


@lru_cache(maxsize=1)
def small_mnist() -> Part | None:
    """Return MNIST in 8 x 8 pixels, a few images of each class; None where it is not found."""

    def shrunk(train: bool, count: int) -> Images:
        images, labels = datasets.mnist(train=train)
        rows = balanced_order(labels, "small MNIST")[:count]
        middle = images[rows, :, 2:26, 2:26].float() / 255
        return Images(functional.avg_pool2d(middle, 3), labels[rows])

    try:
        return Part(shrunk(True, MNIST["training"]), shrunk(False, MNIST["test"]))
    except FileNotFoundError:
        return None


def encoder(seed: int) -> models.Network:
    """Return an untrained encoder of 8 x 8 images."""
    layers = models.projector((64, 128, 128, FEATURES), seed=seed)
    network = models.Network(nn.Flatten(), *layers)
    network.out_features = FEATURES
    return network.eval()


def views(images: Tensor, *, generator: torch.Generator) -> Tensor:
    """Return one view of each image: shifted, with another contrast and noise."""
    return datasets.contrast_noise_views(
        shifted(images, 1, generator=generator), generator=generator
    )


def measure(network: nn.Module, *, seed: int) -> dict[str, Any]:
    """Return the dependence of an encoder's features and the accuracy of every probe.

    The noise and the few labels depend on the seed alone, so that all encoders of a seed compare.
    """
    seen, unseen = digit_parts()
    known = _features(network, seen)
    linear = readout.linear_readout(*known[0], *known[1])
    generator = seeding.torch_generator(seed, "noise of the probe")
    noise = NOISE * torch.randn(seen.test.images.shape, generator=generator)
    noisy = readout.features(network, seen.test.images + noise)
    other = _features(network, unseen)
    few = readout.few_shot_readout(
        *other[0],
        *other[1],
        generator=seeding.torch_generator(seed, "labels of the probe"),
        shots=SHOTS,
        draws=DRAWS,
    )
    probes = {
        "in_domain": linear.accuracy,
        "noise": _accuracy(linear.classifier.predict(noisy), seen.test.labels),
        "unseen": readout.linear_readout(*other[0], *other[1]).accuracy,
        "few_shot": few.accuracy,
        "mnist": None,
    }
    mnist = small_mnist()
    if mnist is not None:
        third = _features(network, mnist)
        probes["mnist"] = readout.linear_readout(*third[0], *third[1]).accuracy
    signals = dependence(known[1].images, known[0].images)
    return {"signals": signals._asdict(), "accuracy": probes}


def _features(network: nn.Module, part: Part) -> Part:
    """Return the features of a part in place of its images."""
    return Part(*(Images(readout.features(network, s.images), s.labels) for s in part))


def _accuracy(found: Tensor, labels: Tensor) -> float:
    return float((found == labels).double().mean())


@lru_cache(maxsize=8)
def untrained(seed: int) -> dict[str, Any]:
    """Return what `measure` finds for a seed's encoder before training."""
    return measure(encoder(part_seed(seed, "encoder")), seed=seed)


def train_cell(cell: Cell, *, seed: int) -> Trained:
    """Train one configuration with one seed: a row of the study, without its measurements."""
    seen, _ = digit_parts()
    return train(cell, encoder, seen.train.images, views, seed=seed, **SCHEDULE)


def row(cell: Cell, *, seed: int) -> dict[str, Any]:
    """Return one row of the study: dependence and probes before and after, loss and weights."""
    found = train_cell(cell, seed=seed)
    return {
        "before": untrained(seed),
        "after": measure(found.encoder, seed=seed),
        "loss": found.history[-1]._asdict(),
        "weights": found.fingerprint,
    }


STUDY = Study(
    "transfer",
    CELLS,
    SEEDS,
    row,
    {
        **SCHEDULE,
        "classes": CLASSES,
        "features": FEATURES,
        "shots": SHOTS,
        "draws": DRAWS,
        "noise": NOISE,
        "mnist": MNIST,
    },
)
"""The study as it is run and stored."""

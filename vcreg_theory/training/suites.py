"""The tables of runs: which methods, on which data, with which networks, in order of priority."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from .. import validation
from ..datasets.scene_factors import SCENE_NOISE
from . import methods
from .config import RunConfig

# The rows that every suite has; those that a reader would miss first come first.
_ORDER = (
    "random",
    "vicreg",
    "directcopy",
    "no_predictor",
    "simclr",
    "barlow_twins",
    "byol",
    "vicreg_logdet",
    "vicreg_pairdist",
    "directpred",
    "directset2",
    "simsiam",
    "wmse",
)
# Their loss inverts a covariance matrix, or saturates in many dimensions.
_NARROW = ("wmse", "vicreg_logdet", "vicreg_pairdist")
# What the theory of a linear network is about: a linear projector, gradient descent, weight decay.
_DIRECT = ("directpred", "directcopy", "directset2", "no_predictor")
_SGD = {"optimizer": "sgd", "learning_rate": 0.03, "weight_decay": 4e-4}
# Means and standard deviations of the channels over CIFAR-10's training images.
_CIFAR_MEAN = [0.4914, 0.4822, 0.4465]
_CIFAR_STD = [0.2470, 0.2435, 0.2616]


def digits() -> Iterator[RunConfig]:
    """Yield the runs on 8 x 8 digits: a core needs a few seconds for each."""
    base = RunConfig(
        "digits",
        "random",
        dataset="digit_views",
        encoder="conv_encoder",
        encoder_options={"channels": [16, 32], "dim": 64, "in_channels": 1, "size": 8},
        projector=(256, 256),
        epochs=60,
        batch_size=125,
        learning_rate=2e-3,
        weight_decay=1e-4,
        warmup_epochs=2,
        evaluations=9,
        evaluation_options={"neighbours": 20},
        log_every=24,
    )
    yield from _rows(base, widths=(64, 256, 1024, 2048), narrow=48, linear=64, sgd=_SGD)


def scenes() -> Iterator[RunConfig]:
    """Yield the runs on rendered scenes with known factors: half a minute of a core for each."""
    base = RunConfig(
        "scenes",
        "random",
        dataset="scene_views",
        encoder="conv_encoder",
        encoder_options={
            "channels": [16, 32, 64],
            "strides": [2, 2, 2],
            "dim": 64,
            "in_channels": 3,
            "size": 32,
        },
        projector=(256, 256),
        epochs=20,
        batch_size=128,
        channels_last=True,
        learning_rate=2e-3,
        weight_decay=1e-4,
        warmup_epochs=1,
        evaluations=6,
        evaluation_options={"train_limit": 2000},
        log_every=32,
    )
    yield from _rows(base, widths=(64, 256, 1024, 2048), narrow=64, linear=64, sgd=_SGD)


def scenes_reversed() -> Iterator[RunConfig]:
    """Yield the runs of `scenes` with the levels of noise in reverse order among the factors.

    The factor that two views disagree on most becomes the one that they agree on most, so that a
    forecast of what is kept, made for these rows, was not read off the rows of `scenes`.
    """
    factors = sorted(SCENE_NOISE, key=SCENE_NOISE.__getitem__)
    noise = {name: SCENE_NOISE[other] for name, other in zip(factors, factors[::-1], strict=True)}
    for config in scenes():
        yield replace(config, suite="scenes_reversed", dataset_options={"noise": noise})


def cifar10() -> Iterator[RunConfig]:
    """Yield the runs on CIFAR-10 with a ResNet-18, for a GPU; their weights are too large to keep
    beside the records, those of `cifar10_small` are not.
    """
    base = RunConfig(
        "cifar10",
        "random",
        dataset="cifar10_views",
        encoder="resnet18",
        encoder_options={"width": 64, "mean": _CIFAR_MEAN, "std": _CIFAR_STD},
        projector=(2048, 2048),
        epochs=100,
        batch_size=512,
        optimizer="adam",
        learning_rate=2e-3,
        weight_decay=1e-4,
        warmup_epochs=5,
        precision="bfloat16",
        channels_last=True,
        compile=True,
        joint_views=True,
        evaluations=6,
        evaluation_options={"train_limit": 10000, "describe_limit": 1024, "batch_size": 2000},
        log_every=97,
    )
    sgd = {**_SGD, "learning_rate": 0.12}  # the same step for an image at four times the batch
    yield from _rows(base, widths=(512, 2048, 8192), narrow=128, linear=128, sgd=sgd, seeds=(0,))


def cifar10_small() -> Iterator[RunConfig]:
    """Yield the runs of a ResNet-18 of width 32 on CIFAR-10: weights below 16 MB."""
    for config in cifar10():
        options = {**config.encoder_options, "width": 32}
        projector = config.projector
        if not config.method.startswith("vcreg_random_"):
            projector = tuple(min(width, 1024) for width in projector)
        small = replace(config, suite="cifar10_small", encoder_options=options)
        yield replace(small, projector=projector)


def cifar10_cpu() -> Iterator[RunConfig]:
    """Yield short runs of a small encoder on CIFAR-10: a minute of a core for each."""
    base = RunConfig(
        "cifar10_cpu",
        "random",
        dataset="cifar10_views",
        dataset_options={"train_limit": 10000},
        encoder="conv_encoder",
        encoder_options={
            "channels": [32, 64, 128],
            "strides": [2, 2, 2],
            "dim": 256,
            "in_channels": 3,
            "size": 32,
            "mean": _CIFAR_MEAN,
            "std": _CIFAR_STD,
        },
        projector=(512, 512),
        epochs=3,
        batch_size=250,
        learning_rate=2e-3,
        weight_decay=1e-4,
        warmup_epochs=1,
        evaluations=3,
        evaluation_options={"train_limit": 4000},
        log_every=40,
    )
    sgd = {**_SGD, "learning_rate": 0.06}
    yield from _rows(base, widths=(512, 2048), narrow=64, linear=128, sgd=sgd, seeds=(0,))


SUITES: dict[str, Callable[[], Iterator[RunConfig]]] = {
    suite.__name__: suite
    for suite in (digits, scenes, scenes_reversed, cifar10, cifar10_small, cifar10_cpu)
}
"""Functions that yield the rows of each suite, by its name."""


def _rows(
    base: RunConfig,
    *,
    widths: Sequence[int],
    narrow: int,
    linear: int,
    sgd: dict[str, Any],
    seeds: Sequence[int] = (0, 1, 2),
) -> Iterator[RunConfig]:
    """Yield one run a method and seed, all methods of the first seed first.

    Parameters
    ----------
    base : RunConfig
        What the rows share.
    widths : sequence of int
        Widths of the frozen random projectors.
    narrow : int
        Width of the embedding of the methods that need few dimensions, at most half the batch.
    linear : int
        Width of the linear projector of the methods whose theory is about a linear network.
    sgd : dict
        Optimiser of these methods.
    seeds : sequence of int
        The seeds.
    """
    names = (*_ORDER, *(f"vcreg_random_{width}" for width in widths))
    for seed in seeds:
        for name in names:
            projector: tuple[int, ...] = base.projector
            if name.startswith("vcreg_random_"):
                projector = (int(name.rpartition("_")[2]),)
            elif name in _NARROW:
                projector = (*base.projector[:-1], narrow)
            elif name in _DIRECT:
                projector = (linear,)
            changes: dict[str, Any] = {"method": name, "seed": seed, "projector": projector}
            changes |= sgd if name in _DIRECT else {}
            if name == "vicreg_pairdist":
                # With the defaults this loss let the embedding fall to one direction on digits;
                # chosen by the read-out of training labels.
                changes["loss_options"] = {"entropy": 100.0, "variance": narrow / 32}
            if not methods.get(name).trains:
                changes |= {"epochs": 0, "warmup_epochs": 0}
            yield replace(base, **changes)


def get(
    name: str,
    *,
    only: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
) -> list[RunConfig]:
    """Return the runs of a suite in order of priority.

    Parameters
    ----------
    name : str
        A key of `SUITES`.
    only : sequence of str, optional
        The methods wanted, all by default.
    seeds : sequence of int, optional
        The seeds wanted, all of the suite by default.

    Returns
    -------
    list of RunConfig

    Raises
    ------
    ValueError
        If the suite, a method or a seed is not there.

    Examples
    --------
    >>> [config.key for config in get("digits", only=["random", "vicreg"], seeds=[1])]
    ['digits-random-s1', 'digits-vicreg-s1']
    """
    validation.member("suite", name, SUITES)
    rows = list(SUITES[name]())
    for wanted, field in ((only, "method"), (seeds, "seed")):
        if wanted is None:
            continue
        known = dict.fromkeys(getattr(row, field) for row in rows)
        for value in wanted:
            validation.member(field, value, known)
        rows = [row for row in rows if getattr(row, field) in wanted]
    return rows

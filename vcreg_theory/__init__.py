"""Theorems on variance-covariance self-supervised learning, with code that checks them.

Every module is imported on first use, so ``import vcreg_theory`` costs little and a chapter that
uses one module does not depend on the others.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what `__getattr__` finds
    from . import (
        bounds,
        checkpoints,
        claims,
        cli,
        datasets,
        density,
        diagnostics,
        dynamics,
        entropy,
        files,
        gaussian_measure,
        ica,
        independence,
        information,
        kernels,
        losses,
        mixtures,
        models,
        normality,
        piecewise,
        plotting,
        polygons,
        readout,
        records,
        seeding,
        stats,
        studies,
        symbolic,
        training,
        validation,
    )

try:
    __version__ = version("vcreg-theory")
except PackageNotFoundError:  # run from a source tree that is not installed
    __version__ = "0+source"

__all__ = [
    "__version__",
    "bounds",
    "checkpoints",
    "claims",
    "cli",
    "datasets",
    "density",
    "diagnostics",
    "dynamics",
    "entropy",
    "files",
    "gaussian_measure",
    "ica",
    "independence",
    "information",
    "kernels",
    "losses",
    "mixtures",
    "models",
    "normality",
    "piecewise",
    "plotting",
    "polygons",
    "readout",
    "records",
    "seeding",
    "stats",
    "studies",
    "symbolic",
    "training",
    "validation",
]


def __getattr__(name: str) -> ModuleType:
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

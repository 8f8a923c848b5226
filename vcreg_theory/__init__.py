"""Theorems on variance-covariance self-supervised learning, with code that checks them.

Every module is imported on first use, so ``import vcreg_theory`` costs little and a chapter that
uses one module does not depend on the others.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

try:
    __version__ = version("vcreg-theory")
except PackageNotFoundError:  # run from a source tree that is not installed
    __version__ = "0+source"

_MODULES = (
    "bounds",
    "checkpoints",
    "claims",
    "cli",
    "datasets",
    "density",
    "diagnostics",
    "dynamics",
    "entropy",
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
    "symbolic",
    "training",
    "validation",
)

__all__ = ["__version__", *_MODULES]


def __getattr__(name: str) -> ModuleType:
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

"""Continuous piecewise-affine networks: local maps, activation cells and exact regions."""

from .kinks import Hyperplanes, Kinks, hyperplanes, kink_expansion
from .local import LocalMap, activation_pattern, local_affine_map
from .program import Program, lower
from .rays import exit_radius
from .regions import (
    Regions1D,
    Regions2D,
    count_regions_shallow,
    enumerate_regions_1d,
    enumerate_regions_2d,
)

__all__ = [
    "Hyperplanes",
    "Kinks",
    "LocalMap",
    "Program",
    "Regions1D",
    "Regions2D",
    "activation_pattern",
    "count_regions_shallow",
    "enumerate_regions_1d",
    "enumerate_regions_2d",
    "exit_radius",
    "hyperplanes",
    "kink_expansion",
    "local_affine_map",
    "lower",
]

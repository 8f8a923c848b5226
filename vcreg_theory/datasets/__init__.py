"""Data sets, each with the views that self-supervision trains on."""

from .augment import augment
from .cifar10 import cifar10, cifar10_views
from .digits import contrast_noise_views, digit_views, digits
from .download import fetch
from .mnist import mnist, mnist_views
from .scene_factors import (
    SCENE_FACTORS,
    SCENE_NOISE,
    SHAPES,
    Scenes,
    noise_levels,
    perturb,
    reflect,
    sample_scenes,
)
from .scene_rendering import render_scenes
from .scene_spectrum import SceneFunction, leading_functions, predicted_r2, view_correlation
from .scenes import scene_views
from .sheet import contact_sheet
from .source import Images, TwoViews, ViewDataset, to_float

__all__ = [
    "SCENE_FACTORS",
    "SCENE_NOISE",
    "SHAPES",
    "Images",
    "SceneFunction",
    "Scenes",
    "TwoViews",
    "ViewDataset",
    "augment",
    "cifar10",
    "cifar10_views",
    "contact_sheet",
    "contrast_noise_views",
    "digit_views",
    "digits",
    "fetch",
    "leading_functions",
    "mnist",
    "mnist_views",
    "noise_levels",
    "perturb",
    "predicted_r2",
    "reflect",
    "render_scenes",
    "sample_scenes",
    "scene_views",
    "to_float",
    "view_correlation",
]

"""The exact law of a network's output, the Gaussian mixture that approximates it, and how well."""

from .bins import pushforward_bin_probabilities
from .exit import exit_probability, total_variation_bound
from .folding import EntropyIdentity
from .law import Atoms, PushforwardLaw1D
from .mixture import OverlapBounds, overlap_probability, prototype_mixture, prototype_overlap
from .plane import pushforward_density_2d
from .variation_1d import law_total_variation, total_variation_1d
from .variation_2d import Estimate, plane_regions, total_variation_2d

__all__ = [
    "Atoms",
    "EntropyIdentity",
    "Estimate",
    "OverlapBounds",
    "PushforwardLaw1D",
    "exit_probability",
    "law_total_variation",
    "overlap_probability",
    "plane_regions",
    "prototype_mixture",
    "prototype_overlap",
    "pushforward_bin_probabilities",
    "pushforward_density_2d",
    "total_variation_1d",
    "total_variation_2d",
    "total_variation_bound",
]

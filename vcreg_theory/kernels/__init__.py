"""Gaussian kernels: Gram matrices, bandwidths, centring, closed forms and Fourier features.

The kernel is ``exp(-|x - y|^2 / (2 bandwidth^2))`` throughout. `gaussian` evaluates and centres it,
`closed_forms` integrates it against a bivariate normal law, `bandwidths` takes median distances,
and `fourier` writes the kernel of a scalar variable as a short sum of cosines.
"""

from .bandwidths import median_bandwidth, median_bandwidths
from .closed_forms import KernelMeans, gaussian_hsic, gaussian_kernel_means
from .fourier import fourier_features_1d
from .gaussian import centre, gaussian_kernel, u_centre

__all__ = [
    "KernelMeans",
    "centre",
    "fourier_features_1d",
    "gaussian_hsic",
    "gaussian_kernel",
    "gaussian_kernel_means",
    "median_bandwidth",
    "median_bandwidths",
    "u_centre",
]

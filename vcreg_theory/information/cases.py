"""Two test cases whose information is known: views of a Gaussian source, and of two images."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import validation
from ..entropy import mixture_entropy_quadrature
from .decoders import isotropic_bound
from .views import view_information


@dataclass(frozen=True)
class GaussianViews:
    r"""Two noisy views of a Gaussian source: everything about the bound in closed form.

    .. math:: X = U + tE, \quad X' = U + tE', \quad Z = aX, \qquad
        U \sim \mathcal N(0, s^2 I), \quad E, E' \sim \mathcal N(0, I)

    With :math:`V = s^2 + t^2` and :math:`\rho = s^2 / V`, in each of the d coordinates

    .. math:: I = -\tfrac12 \log(1 - \rho^2), \quad
        \text{bound} = \tfrac12 \log\frac{V}{2t^2}, \quad
        \text{gap} = \tfrac12 \log\frac{2V}{2s^2 + t^2},

    where the bound is the best for :math:`q = \mathcal N(z', \sigma^2 I)`, whatever the scale a,
    while :math:`q = \mathcal N(\rho z', a^2 V (1 - \rho^2) I)` attains the information.

    Parameters
    ----------
    signal, noise : float
        Standard deviations s and t of a coordinate, positive.
    dim : int
        Number d of coordinates.

    Raises
    ------
    ValueError
        If a standard deviation is not positive or `dim` is below 1.

    Notes
    -----
    Claims B4.b and B4.e. The gap vanishes with the noise, and tends to :math:`\frac d2 \log 2` as
    the signal vanishes, which is also what separated clusters lose (see `TwoImages`).

    Examples
    --------
    >>> views = GaussianViews(signal=1.0, noise=0.5)
    >>> [round(v, 4) for v in (views.information, views.bound, views.gap)]
    [0.5108, 0.4581, 0.0527]
    """

    signal: float
    noise: float
    dim: int = 1

    def __post_init__(self) -> None:
        validation.positive("signal", self.signal)
        validation.positive("noise", self.noise)
        validation.integer("dim", self.dim, at_least=1)

    @property
    def variance(self) -> float:
        """The variance V of a coordinate of a view."""
        return self.signal**2 + self.noise**2

    @property
    def correlation(self) -> float:
        """The correlation of the two views, which is also the coefficient of the exact decoder."""
        return self.signal**2 / self.variance

    @property
    def information(self) -> float:
        """The information between the views, in nats."""
        s2, t2 = self.signal**2, self.noise**2
        # 1 / (1 - rho^2) - 1, without cancellation for strong or for weak correlation.
        return self.dim / 2 * math.log1p(s2 / t2 * (s2 / (2 * s2 + t2)))

    @property
    def bound(self) -> float:
        """The best bound of an isotropic decoder centred at the other code."""
        return self.dim / 2 * math.log(self.variance / (2 * self.noise**2))

    @property
    def gap(self) -> float:
        """What that bound misses: the mean divergence of its decoder."""
        s2, t2 = self.signal**2, self.noise**2
        return self.dim / 2 * math.log1p(t2 / (2 * s2 + t2))

    @property
    def optimal_scale(self) -> float:
        """The scale a at which the bound with unit decoder variance is largest."""
        return 1 / (math.sqrt(2) * self.noise)

    def entropy(self, scale: float = 1.0) -> float:
        """Return the entropy of the code aX in nats."""
        scale = validation.positive("scale", scale)
        return self.dim / 2 * math.log(2 * math.pi * math.e * scale**2 * self.variance)

    def decoder_bound(self, scale: float, variance: float = 1.0) -> float:
        """Return the exact bound of the decoder N(z', variance I) for the code aX."""
        distance = 2 * self.dim * (validation.positive("scale", scale) * self.noise) ** 2
        return float(isotropic_bound(self.entropy(scale), distance, self.dim, variance))

    def covariance(self, scale: float = 1.0) -> Tensor:
        """Return the covariance of both codes together, shape (2 d, 2 d), float64."""
        scale, rho = validation.positive("scale", scale), self.correlation
        pair = torch.tensor([[1.0, rho], [rho, 1.0]], dtype=torch.float64)
        coordinates = torch.eye(self.dim, dtype=torch.float64)
        return scale**2 * self.variance * torch.kron(pair, coordinates)


@dataclass(frozen=True)
class TwoImages:
    r"""Two images coded as :math:`\pm a` with Gaussian noise of standard deviation t.

    The code is bimodal, so its log-determinant entropy is far too large and the "bound" that uses
    it exceeds the information without limit:

    .. math:: \text{surrogate} = \tfrac12 \log\frac{a^2 + t^2}{2t^2}, \qquad I \le \log 2

    Parameters
    ----------
    separation, noise : float
        The code a of one image and the standard deviation t of both views, positive.

    Raises
    ------
    ValueError
        If an argument is not positive, or the quadrature cannot resolve the noise.

    Notes
    -----
    Claim B4.c. The bound with the exact entropy tends to :math:`\log 2 - \frac12 \log 2`: half a
    log 2 a coordinate is lost because the decoder is centred at a noisy code.

    Examples
    --------
    >>> images = TwoImages(separation=4.0, noise=1.0)
    >>> round(images.surrogate, 2), round(images.bound, 2), round(images.information, 2)
    (1.07, 0.35, 0.69)
    """

    separation: float
    noise: float

    def __post_init__(self) -> None:
        validation.positive("separation", self.separation)
        validation.positive("noise", self.noise)

    @property
    def surrogate(self) -> float:
        """The log-determinant entropy plus the best isotropic decoder's expectation."""
        return math.log1p((self.separation / self.noise) ** 2) / 2 - math.log(2) / 2

    @property
    def bound(self) -> float:
        """The bound of the best isotropic decoder with the exact entropy."""
        entropy = mixture_entropy_quadrature(self._means, self.noise**2).entropy
        return float(isotropic_bound(entropy, 2 * self.noise**2, 1))

    @property
    def information(self) -> float:
        """The information between the two codes."""
        return view_information(self._means, self.noise**2).information

    @property
    def cap(self) -> float:
        """Log 2, which no encoder's information exceeds."""
        return math.log(2)

    @property
    def _means(self) -> Tensor:
        return torch.tensor([-self.separation, self.separation], dtype=torch.float64)

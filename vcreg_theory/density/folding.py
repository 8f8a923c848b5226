"""The entropy of an invertible piecewise-affine image, and what folding takes from it."""

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from .quadrature import panel_integral

if TYPE_CHECKING:
    from .law import PushforwardLaw1D


class EntropyIdentity(NamedTuple):
    """The terms of the entropy identity, in nats."""

    entropy: float
    input_entropy: float
    log_jacobian: float
    folding_loss: float

    @property
    def residual(self) -> float:
        """Difference of the two sides."""
        return self.entropy - (self.input_entropy + self.log_jacobian - self.folding_loss)


def entropy_identity(law: "PushforwardLaw1D") -> EntropyIdentity:
    r"""Return both sides of the entropy identity of a piecewise-affine map that is nowhere flat.

    .. math:: H(Z) = H(X) + \mathbb E \log|f'(X)| - H(\Omega \mid Z)

    The left side and the last term are integrals, over panels that end at every kink of the
    density; the other two terms have closed forms. For a mixture, :math:`X` stands for the input
    with its component and :math:`\Omega` for the piece with its component.

    Parameters
    ----------
    law : PushforwardLaw1D
        A law without atoms.

    Returns
    -------
    EntropyIdentity
        Fields `entropy`, `input_entropy`, `log_jacobian`, `folding_loss` in nats, and the property
        `residual`.

    Raises
    ------
    ValueError
        If the law has atoms.

    Notes
    -----
    Claim: B2.d.

    Examples
    --------
    >>> from vcreg_theory.density import PushforwardLaw1D
    >>> zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    >>> lower, upper = torch.cat([zero - torch.inf, zero]), torch.cat([zero, zero + torch.inf])
    >>> slope = torch.tensor([-1.0, 1.0], dtype=torch.float64)
    >>> absolute_value = PushforwardLaw1D(lower, upper, 0 * one, slope, one, std=1.0)
    >>> round(entropy_identity(absolute_value).folding_loss, 9)  # half the points fold: log 2
    0.693147181
    """
    total = float(law.atoms().mass.sum())
    if total > 0:
        raise ValueError(
            f"the law has no differential entropy: its atoms hold a mass of {total:.6g}"
        )

    def integrand(z: Tensor) -> Tensor:
        parts = law.piece_densities(z)
        density = parts.sum(-1)
        marginal = torch.special.xlogy(density, density)
        return torch.stack([-marginal, marginal - torch.special.xlogy(parts, parts).sum(-1)])

    entropy, folding = panel_integral(integrand, law.panel_edges(), law.slope.numel())
    mass = law.piece_mass
    live = mass > 0
    log_jacobian = (mass * (law.slope.abs() / law.std).log())[live].sum()
    component = -(mass * law.weight.log())[live].sum()
    gaussian = 0.5 * (1 + math.log(2 * math.pi * law.std**2))
    return EntropyIdentity(
        float(entropy), gaussian + float(component), float(log_jacobian), float(folding)
    )

"""The probability that Gaussian noise leaves an activation cell, and the bound it gives."""

from typing import Any

import torch
from torch import Tensor, nn

from .. import gaussian_measure, validation
from ..gaussian_measure import normal_tail
from ..piecewise.inputs import single
from ..piecewise.kinks import cell_margins
from ..piecewise.program import Program, lower
from ..piecewise.rays import exit_radius


def exit_probability(
    model: nn.Module | Program,
    x: Tensor,
    sigma: float | Tensor,
    *,
    method: str = "union",
    n_rays: int = 1000,
    generator: torch.Generator | None = None,
    covariance: Tensor | None = None,
) -> Tensor:
    r"""Return the probability that Gaussian noise moves an input out of its activation cell.

    With :math:`d_j` the distance from :math:`x` to the hyperplane of unit :math:`j`, extended from
    the cell :math:`\omega` of :math:`x`, and :math:`\xi` standard normal,

    .. math:: \max_j Q(d_j / \sigma) \le P(x + \sigma\xi \notin \omega)
        \le \sum_j Q(d_j / \sigma), \qquad
        x + \sigma\xi \notin \omega \iff t^*(x, \xi) \le \sigma .

    Parameters
    ----------
    model : nn.Module or Program
        Piecewise-affine network.
    x : Tensor, shape (B, ...)
        Inputs. Where one lies on a boundary, its cell is that of `activation_pattern`: a rectifier
        at zero is off, and the first of several equal entries of a pooling window wins.
    sigma : float or Tensor, shape (S,)
        Noise levels, in input units; zero gives probability zero.
    method : {"union", "lower", "exact", "ray"}
        The upper bound (capped at one), the lower bound, the exact value (inputs of one or two
        entries, unbounded cells included), or the share of `n_rays` random rays that leave the
        cell; one set of rays serves every noise level.
    n_rays : int
    generator : torch.Generator, optional
        Needed by ``method="ray"``.
    covariance : Tensor, shape (D, D), optional
        The noise is then Gaussian with covariance ``sigma^2 * covariance``; identity by default.

    Returns
    -------
    Tensor, shape (B,) or (S, B)
        In the dtype of `x`.

    Raises
    ------
    ValueError
        If a noise level is negative or not finite, the method is unknown, or ``"exact"`` is asked
        for an input of more than two entries.

    Notes
    -----
    Claim: B2.c.

    Examples
    --------
    >>> relu = nn.Sequential(nn.Linear(1, 1), nn.ReLU())
    >>> relu[0].weight.data.fill_(1.0), relu[0].bias.data.fill_(0.0)
    (tensor([[1.]]), tensor([0.]))
    >>> exit_probability(relu, torch.tensor([[2.0]]), 1.0)
    tensor([0.0228])
    """
    program, x = lower(model), validation.tensor("x", x, ndim=(2, 3, 4, 5), min_rows=1)
    levels = noise_levels(sigma, x)
    validation.member("method", method, ("union", "lower", "exact", "ray"))
    entries = x[0].numel()
    if method == "exact" and entries > 2:
        raise ValueError(
            f"method 'exact' needs an input of 1 or 2 entries, got {entries}; use 'ray' or 'union'"
        )
    factor = _factor(covariance, entries, x)
    if method == "ray":
        columns = [_by_rays(program, row, levels, factor, n_rays, generator) for row in x]
    else:
        columns = [_by_hyperplanes(program, row, levels, factor, method) for row in x]
    probability = torch.where(levels.unsqueeze(1) > 0, torch.stack(columns, 1), 0.0).to(x.dtype)
    return probability if isinstance(sigma, Tensor) and sigma.ndim else probability[0]


def total_variation_bound(
    model: nn.Module | Program,
    prototypes: Tensor,
    sigma: float | Tensor,
    method: str = "union",
    **options: Any,
) -> Tensor:
    r"""Bound the total variation between the law of the output and the prototype mixture.

    .. math:: \mathrm{TV}\Bigl(f_\# P, \tfrac1N \sum_n (g_n)_\# \mu_n\Bigr)
        \le \frac1N \sum_n \mu_n(\omega_n^c), \qquad P = \frac1N \sum_n \mu_n .

    Parameters
    ----------
    model : nn.Module or Program
    prototypes : Tensor, shape (N, ...)
        Centers of the Gaussian components :math:`\mu_n`.
    sigma : float or Tensor, shape (S,)
    method : str
        As in `exit_probability`; ``"lower"`` and ``"ray"`` estimate the bound and are no bounds.
    **options
        Passed on to `exit_probability`.

    Returns
    -------
    Tensor, shape () or (S,)

    Raises
    ------
    ValueError
        As `exit_probability`.

    Notes
    -----
    Claim: B2.b. No component needs to be separate from the others.

    Examples
    --------
    >>> relu = nn.Sequential(nn.Linear(1, 1, bias=False), nn.ReLU())
    >>> _ = relu[0].weight.data.fill_(1.0)
    >>> total_variation_bound(relu, torch.tensor([[2.0], [-2.0]]), 1.0)
    tensor(0.0228)
    """
    return exit_probability(model, prototypes, sigma, method=method, **options).mean(-1)


def noise_levels(sigma: float | Tensor, like: Tensor) -> Tensor:
    """Return noise levels as a float64 vector on the device of `like`."""
    if isinstance(sigma, Tensor) and sigma.ndim > 1:
        raise ValueError(f"sigma must be a number or a vector, got shape {tuple(sigma.shape)}")
    if not isinstance(sigma, Tensor):
        validation.real("sigma", sigma)
    levels = torch.as_tensor(sigma, dtype=torch.float64, device=like.device).reshape(-1)
    if levels.numel() == 0 or not bool((torch.isfinite(levels) & (levels >= 0)).all()):
        raise ValueError(f"sigma must be finite and not negative, got {levels.tolist()}")
    return levels


def _factor(covariance: Tensor | None, entries: int, x: Tensor) -> Tensor | None:
    if covariance is None:
        return None
    mean = torch.zeros(entries)
    return gaussian_measure.gaussian_parameters(mean, covariance, x, dim=entries)[1]


def _by_hyperplanes(
    program: Program, row: Tensor, levels: Tensor, factor: Tensor | None, method: str
) -> Tensor:
    """Return a bound or the exact value at one input, for every noise level."""
    distance, normal = _whitened_halfspaces(program, row, factor)
    positive = torch.where(levels > 0, levels, 1.0)
    if method == "exact" and normal.shape[1] == 2:
        return gaussian_measure.escape_probability(distance, normal, positive)
    if method == "exact":
        sides = torch.stack([normal[:, 0] > 0, normal[:, 0] < 0])
        beyond = distance.new_full((2, 1), torch.inf)
        nearest = torch.cat([torch.where(sides, distance, torch.inf), beyond], 1).amin(1)
        return normal_tail(nearest / positive.unsqueeze(1)).sum(1).clamp_max(1)
    tails = normal_tail(distance / positive.unsqueeze(1))
    if method == "union":
        return tails.sum(1).clamp_max(1)
    return torch.cat([tails, tails.new_zeros(len(tails), 1)], 1).amax(1)


def _whitened_halfspaces(
    program: Program, row: Tensor, factor: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return distances and outward unit normals in coordinates where the noise is isotropic."""
    planes = cell_margins(program, single(program, "x", row.unsqueeze(0)))
    margin, gradient = (v.double() for v in planes)
    if factor is not None:
        gradient = gradient @ factor
    steepness = gradient.norm(dim=1)
    moving = steepness > 0
    margin, gradient, steepness = margin[moving], gradient[moving], steepness[moving]
    return margin.abs() / steepness, -gradient / steepness.unsqueeze(1)


def _by_rays(
    program: Program,
    row: Tensor,
    levels: Tensor,
    factor: Tensor | None,
    n_rays: int,
    generator: torch.Generator | None,
) -> Tensor:
    """Return the share of random rays that leave the cell within each noise level."""
    validation.integer("n_rays", n_rays, at_least=1)
    if generator is None:
        raise ValueError("generator must be a torch.Generator for method 'ray', got None")
    noise = torch.randn(
        (n_rays, row.numel()), generator=generator, dtype=row.dtype, device=row.device
    )
    if factor is not None:
        noise = noise @ factor.T.to(row.dtype)
    radius = exit_radius(program, row.unsqueeze(0), noise.reshape(n_rays, *row.shape))
    return (radius.double() <= levels.unsqueeze(1)).double().mean(1)

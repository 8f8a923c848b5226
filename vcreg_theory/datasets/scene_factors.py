"""The independent factors of a scene, and the noise that a view adds to them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .. import validation

SHAPES = ("ellipse", "rectangle", "triangle", "tee")
"""The classes of shapes, in the order of their labels."""

SCENE_FACTORS = ("hue", "size", "x", "y", "rotation", "background", "light")
"""The continuous factors, in the order of the columns."""

# Four factors that a view hardly moves and three that it nearly forgets. The levels are distinct so
# that theory ranks the factors: among the functions on which two views agree most, the first of x
# is complete at place 7, of y at 11, size 19, rotation 35, background 767, hue 2543, light 7235
# (`leading_functions`, four places each, after three for the shape class).
SCENE_NOISE: Mapping[str, float] = MappingProxyType(
    {
        "hue": 0.4,
        "size": 0.085,
        "x": 0.05,
        "y": 0.06,
        "rotation": 0.11,
        "background": 0.3,
        "light": 0.5,
    }
)
"""Levels of the noise that a view adds to each factor, by default."""


class Scenes(NamedTuple):
    """Scenes: shape classes (int64, shape (n,)) and continuous factors in [0, 1], (n, 7)."""

    shapes: Tensor
    factors: Tensor


def sample_scenes(
    n: int, *, generator: torch.Generator, dtype: torch.dtype = torch.float32
) -> Scenes:
    r"""Return random scenes whose factors are independent and uniform.

    .. math:: \text{shape} \sim U\{0, 1, 2, 3\}, \qquad u_k \sim U[0, 1), \quad k = 1, \dots, 7

    Parameters
    ----------
    n : int
        Number of scenes, at least 1.
    generator : torch.Generator
        Source of all randomness; the scenes are on its device.
    dtype : torch.dtype
        float32 or float64, of the factors.

    Returns
    -------
    Scenes
        ``shapes`` as positions in `SHAPES`, ``factors`` with the columns `SCENE_FACTORS`.

    Raises
    ------
    ValueError
        If `n` is below 1 or `dtype` is not float32 or float64.

    Examples
    --------
    >>> scenes = sample_scenes(10, generator=torch.Generator().manual_seed(0))
    >>> scenes.shapes.shape, scenes.factors.shape
    (torch.Size([10]), torch.Size([10, 7]))
    """
    n = validation.integer("n", n, at_least=1)
    validation.member("dtype", dtype, (torch.float32, torch.float64))
    device = generator.device
    shapes = torch.randint(len(SHAPES), (n,), generator=generator, device=device)
    size = (n, len(SCENE_FACTORS))
    return Scenes(shapes, torch.rand(size, generator=generator, device=device, dtype=dtype))


def noise_levels(noise: Mapping[str, float] | None = None) -> dict[str, float]:
    """Return the noise of every factor, checked.

    Parameters
    ----------
    noise : mapping from factor to float, optional
        Standard deviations, not negative, in units of the factor's range. Factors that are not
        named get none. Without a mapping the levels are those of `SCENE_NOISE`.

    Returns
    -------
    dict from str to float
        One entry for each of `SCENE_FACTORS`, in that order.

    Raises
    ------
    TypeError, ValueError
        If a name is unknown or a level is no finite number of at least zero.

    Examples
    --------
    >>> noise_levels({"hue": 0.5})["hue"], noise_levels({"hue": 0.5})["x"]
    (0.5, 0.0)
    """
    if noise is None:
        noise = SCENE_NOISE
    if not isinstance(noise, Mapping):
        raise TypeError(f"noise must be a mapping, got {type(noise).__name__}")
    for name in noise:
        validation.member("factor named in noise", name, SCENE_FACTORS)
    return {
        name: validation.nonnegative(f"noise[{name!r}]", noise.get(name, 0.0))
        for name in SCENE_FACTORS
    }


def reflect(values: Tensor) -> Tensor:
    r"""Fold the real line onto [0, 1] by mirrors at both ends.

    .. math:: t \mapsto \min(r, 2 - r), \qquad r = t \bmod 2

    Parameters
    ----------
    values : Tensor, any shape
        Finite float32 or float64 numbers.

    Returns
    -------
    Tensor, shape of `values`
        Entries in [0, 1]; those that were there already stay as they are.

    Raises
    ------
    TypeError, ValueError
        If `values` is not a finite floating tensor.

    Notes
    -----
    Every cosine :math:`\cos(\pi j t)` with whole :math:`j` has the same value before and after,
    which is why cosines diagonalise reflected noise.

    Examples
    --------
    >>> reflect(torch.tensor([-0.25, 0.25, 1.25, 2.25], dtype=torch.float64)).tolist()
    [0.25, 0.25, 0.75, 0.25]
    """
    return _fold(validation.tensor("values", values))


def perturb(
    factors: Tensor, noise: Mapping[str, float] | None = None, *, generator: torch.Generator
) -> Tensor:
    r"""Return factors after one random view: independent Gaussian noise, reflected into [0, 1].

    .. math:: u_k' = \operatorname{reflect}(u_k + s_k \xi_k), \qquad \xi_k \sim \mathcal N(0, 1)

    Parameters
    ----------
    factors : Tensor, shape (n, 7)
        Factors in [0, 1], columns `SCENE_FACTORS`.
    noise : mapping from factor to float, optional
        Standard deviations :math:`s_k`, read by `noise_levels`.
    generator : torch.Generator
        Source of all randomness, on the device of `factors`.

    Returns
    -------
    Tensor, shape (n, 7)

    Raises
    ------
    TypeError, ValueError
        If `factors` has other columns or leaves [0, 1], or `noise` is not allowed.

    Notes
    -----
    This is the heat kernel on [0, 1] with Neumann (reflecting) ends at time :math:`s_k^2/2`. Its
    density is symmetric in :math:`u` and :math:`u'`, so the uniform law is invariant.

    Examples
    --------
    >>> u = torch.full((4, 7), 0.5)
    >>> moved = perturb(u, {"hue": 0.2}, generator=torch.Generator().manual_seed(0))
    >>> (moved != u).any(0).tolist()
    [True, False, False, False, False, False, False]
    """
    check_factors("factors", factors)
    levels = torch.tensor(list(noise_levels(noise).values()), dtype=factors.dtype)
    return add_noise(factors, levels.to(factors.device), generator)


def add_noise(factors: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Return `perturb` of checked factors; nothing here waits for a GPU."""
    options: dict[str, Any] = {"device": factors.device, "dtype": factors.dtype}
    return _fold(factors + levels * torch.randn(factors.shape, generator=generator, **options))


def check_factors(name: str, factors: object) -> Tensor:
    """Return `factors` if they are rows of seven numbers in [0, 1]."""
    factors = validation.tensor(name, factors, ndim=2)
    if factors.shape[1] != len(SCENE_FACTORS):
        raise ValueError(
            f"{name} must have the {len(SCENE_FACTORS)} columns {', '.join(SCENE_FACTORS)}, "
            f"got shape {tuple(factors.shape)}"
        )
    if factors.numel() and not (factors.min() >= 0 and factors.max() <= 1):
        low, high = factors.min().item(), factors.max().item()
        raise ValueError(f"{name} must lie in [0, 1], got {low:g} to {high:g}")
    return factors


def _fold(values: Tensor) -> Tensor:
    """Return `reflect` of checked values."""
    rest = torch.remainder(values, 2)
    return torch.minimum(rest, 2 - rest)

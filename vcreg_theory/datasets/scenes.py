"""Scenes as a data set for self-supervision: images, their factors, and views of known noise."""

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .. import seeding, validation
from .scene_factors import SCENE_FACTORS, Scenes, add_noise, noise_levels, sample_scenes
from .scene_rendering import RENDERER, render
from .source import Images, TwoViews, ViewDataset, check_rows


def scene_views(
    *,
    seed: int = 0,
    n_train: int = 4096,
    n_test: int = 1024,
    size: int = 32,
    noise: Mapping[str, float] | None = None,
    pixel_noise: float = 0.0,
    device: torch.device | str = "cpu",
) -> ViewDataset:
    r"""Return pictures of random scenes, with views that perturb known factors by known amounts.

    .. math:: x' = I\bigl(\text{shape}, \operatorname{reflect}(u + s \odot \xi)\bigr)
              + \text{pixel\_noise} \cdot \zeta,
              \qquad \xi, \zeta \sim \mathcal N(0, I)

    The two views of a scene are independent given the scene. The shape class never changes.

    Parameters
    ----------
    seed : int
        Seed of the scenes, not negative.
    n_train, n_test : int
        Numbers of scenes, at least 1.
    size : int
        Height and width in pixels, at least 8.
    noise : mapping from factor to float, optional
        Standard deviations s of the factors' noise, read by `noise_levels`; by default
        `SCENE_NOISE`.
    pixel_noise : float
        Standard deviation of the noise of a view's pixels, not negative. It is not clipped.
    device : torch.device or str
        Where the images are kept and the views drawn.

    Returns
    -------
    ViewDataset
        Images of shape (n, 3, size, size) as uint8, labels that are shape classes, and factors of
        shape (n, 7) with the columns `SCENE_FACTORS`. Views are float32, drawn anew from the
        perturbed factors and not rounded to bytes.

    Raises
    ------
    TypeError, ValueError
        If an option is out of range or `noise` names an unknown factor.

    Notes
    -----
    The images are drawn on the CPU in float64 and then rounded, so that their hash does not depend
    on the device. What views have in common is known exactly: `view_correlation`,
    `leading_functions` and `predicted_r2` say which factors survive, before any training. At the
    default noise the best representation of 35 to 766 features holds shape, x, y, size and
    rotation, and nothing linear in background, hue or light; with fewer features it loses
    rotation first, then size.

    Examples
    --------
    >>> data = scene_views(n_train=8, n_test=4, size=16)
    >>> data.train.images.shape, data.factor_names[:3]
    (torch.Size([8, 3, 16, 16]), ('hue', 'size', 'x'))
    >>> view, other = data.two_views(torch.arange(2), torch.Generator().manual_seed(0))
    >>> view.shape, torch.equal(view, other)
    (torch.Size([2, 3, 16, 16]), False)
    """
    size = validation.integer("size", size, at_least=8)
    pixel_noise = validation.nonnegative("pixel_noise", pixel_noise)
    levels = noise_levels(noise)
    train, test = (
        sample_scenes(
            validation.integer(f"n_{part}", n, at_least=1),
            generator=seeding.torch_generator(seed, f"scenes {part}"),
        )
        for part, n in (("train", n_train), ("test", n_test))
    )
    images = {"train": _bytes(train, size), "test": _bytes(test, size)}
    identity = {
        "data": "scenes",
        "renderer": RENDERER,
        "seed": str(seed),
        "n_train": str(n_train),
        "n_test": str(n_test),
        "size": str(size),
        "noise": ", ".join(f"{name} {level:g}" for name, level in levels.items()),
        "pixel_noise": f"{pixel_noise:g}",
        "test_sha256": hashlib.sha256(images["test"].numpy().data).hexdigest(),
    }
    kept = Scenes(*(part.to(device) for part in train))
    return ViewDataset(
        name="scenes",
        identity=identity,
        train=Images(images["train"].to(device), kept.shapes),
        test=Images(images["test"].to(device), test.shapes.to(device)),
        two_views=_views(kept, tuple(levels.values()), pixel_noise, size),
        train_factors=kept.factors,
        test_factors=test.factors.to(device),
        factor_names=SCENE_FACTORS,
    )


def _bytes(scenes: Scenes, size: int) -> Tensor:
    """Return canonical images; float64 makes a rounding that depends on the machine unlikely."""
    images = torch.empty(len(scenes.shapes), 3, size, size, dtype=torch.uint8)
    for rows in torch.arange(len(images)).split(256):  # bounds the float64 images in memory
        part = Scenes(scenes.shapes[rows], scenes.factors[rows].double())
        images[rows] = render(part, size).mul_(255).round_().to(torch.uint8)
    return images


def _views(scenes: Scenes, levels: tuple[float, ...], pixel_noise: float, size: int) -> TwoViews:
    """Return the function that draws two views of the scenes of given rows."""
    spread = scenes.factors.new_tensor(levels)

    def two_views(rows: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        rows = check_rows(rows, generator, scenes.factors).repeat(2)
        moved = add_noise(scenes.factors[rows], spread, generator)
        views = render(Scenes(scenes.shapes[rows], moved), size)
        if pixel_noise:
            options: dict[str, Any] = {"device": views.device, "dtype": views.dtype}
            views += pixel_noise * torch.randn(views.shape, generator=generator, **options)
        first, second = views.chunk(2)
        return first, second

    return two_views

"""Time of the random views, against kornia's batched augmentations of the same kind.

Both crop and resize, flip, change brightness, contrast, saturation and hue, and make some images
grey, with the same parameters; every image has its own draw in both.
"""

import kornia.augmentation as peer
import measuring
import torch
from torch import nn

from vcreg_theory import seeding
from vcreg_theory.datasets.augment import augment

BATCH, SIZE, ROUNDS = 256, 32, 15


def test_augment(found, cpu_rounds):
    generator = seeding.torch_generator(0, "benchmark")
    pixels = torch.randint(0, 256, (BATCH, 3, SIZE, SIZE), generator=generator, dtype=torch.uint8)
    floats = pixels / 255
    geometry = (
        peer.RandomResizedCrop((SIZE, SIZE), scale=(0.2, 1.0)),
        peer.RandomHorizontalFlip(p=0.5),
    )
    jitter, jiggle = (
        nn.Sequential(*geometry, kind(0.4, 0.4, 0.2, 0.1, p=0.8), peer.RandomGrayscale(p=0.2))
        for kind in (peer.ColorJitter, peer.ColorJiggle)
    )
    crop_flip = nn.Sequential(*geometry)
    functions = {
        "bytes": lambda: augment(pixels, generator=generator),
        "floats": lambda: augment(floats, generator=generator),
        "crop_flip": lambda: augment(floats, generator=generator, jitter=0.0, greyscale=0.0),
        "kornia_jitter": lambda: jitter(floats),
        "kornia_jiggle": lambda: jiggle(floats),
        "kornia_crop_flip": lambda: crop_flip(floats),
    }
    times = cpu_rounds(ROUNDS, functions)
    best = measuring.quickest({name: times[f"kornia_{name}"] for name in ("jitter", "jiggle")})
    what = f"{BATCH} images of {SIZE} x {SIZE}"
    for name, title, theirs, goal in (
        ("bytes", f"views of {what}, from bytes", best, 5.0),
        ("floats", f"views of {what}", best, 5.0),
        ("crop_flip", f"crops and flips of {what}", "crop_flip", None),
    ):
        found.ratio(
            f"augment_{name}",
            title,
            peer="kornia",
            own=times[name],
            theirs=times[f"kornia_{theirs}"],
            goal=goal,
        )

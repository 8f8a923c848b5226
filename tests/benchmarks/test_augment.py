"""Images a second of the random views, against kornia's batched augmentations of the same kind.

Run with ``pytest -o addopts=-q tests/benchmarks/test_augment.py``. Both crop and resize, flip,
change brightness, contrast, saturation and hue, and make some images grey, with the same
parameters; every image has its own draw in both.
"""

import kornia.augmentation as peer
import measuring
import torch
from torch import nn

from vcreg_theory import seeding
from vcreg_theory.datasets.augment import augment

BATCH, SIZE, ROUNDS = 256, 32, 15


def test_augment__images_per_second(benchmark):
    torch.set_num_threads(1)
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

    def ours():
        return augment(pixels, generator=generator)

    benchmark.pedantic(ours, rounds=5, warmup_rounds=1)
    seconds = measuring.named_cpu_seconds(
        ROUNDS,
        ours=ours,
        ours_from_floats=lambda: augment(floats, generator=generator),
        ours_crop_flip=lambda: augment(floats, generator=generator, jitter=0.0, greyscale=0.0),
        kornia_jitter=lambda: jitter(floats),
        kornia_jiggle=lambda: jiggle(floats),
        kornia_crop_flip=lambda: crop_flip(floats),
    )
    rates = {f"{name}_images_per_second": BATCH / t for name, t in seconds.items()}
    best = min(seconds["kornia_jitter"], seconds["kornia_jiggle"])
    ratios = {
        "ratio": best / seconds["ours"],
        "ratio_from_floats": best / seconds["ours_from_floats"],
        "ratio_crop_flip": seconds["kornia_crop_flip"] / seconds["ours_crop_flip"],
    }
    benchmark.extra_info.update({**rates, **ratios, "torch": torch.__version__})
    assert ratios["ratio"] >= 5  # bytes in, conversion included

"""Time to draw scenes and their views, against kornia's batched augmentation of ready images.

Run with ``pytest -o addopts=-q tests/benchmarks/test_scenes.py``. A view of a scene is drawn anew
from its factors, the peer changes pixels: rotation, shift and scale in one warp, then brightness
and hue. Both give one view of each image of the batch, with one draw for each. The floor is to
write the pictures once.
"""

import kornia.augmentation as peer
import measuring
import torch
from torch import nn

from vcreg_theory import seeding
from vcreg_theory.datasets import Scenes, render_scenes, sample_scenes, scene_views

BATCH, SIZE, ROUNDS = 256, 32, 15


def test_scenes__milliseconds_a_batch(benchmark):
    torch.set_num_threads(1)
    generator = seeding.torch_generator(0, "benchmark")
    scenes = sample_scenes(BATCH, generator=generator)
    pictures = render_scenes(scenes, size=SIZE)
    single = [Scenes(*(part[i : i + 1] for part in scenes)) for i in range(BATCH)]
    data = scene_views(n_train=BATCH, n_test=1, size=SIZE)
    rows = torch.arange(BATCH)
    warp = nn.Sequential(
        peer.RandomAffine(degrees=20.0, translate=(0.1, 0.1), scale=(0.8, 1.2), p=1.0),
        peer.ColorJiggle(brightness=0.4, hue=0.3, p=1.0),
    )

    def draw():
        return render_scenes(scenes, size=SIZE)

    benchmark.pedantic(draw, rounds=5, warmup_rounds=1)
    seconds = measuring.named_cpu_seconds(
        ROUNDS,
        draw=draw,
        two_views=lambda: data.two_views(rows, generator),
        one_by_one=lambda: [render_scenes(scene, size=SIZE) for scene in single],
        kornia=lambda: warp(pictures),
        write=lambda: torch.empty_like(pictures).fill_(0.5),
    )
    own = {f"{name}_milliseconds": 1e3 * t for name, t in seconds.items()}
    ratios = {
        "ratio_to_kornia": 2 * seconds["kornia"] / seconds["two_views"],
        "ratio_to_one_by_one": seconds["one_by_one"] / seconds["draw"],
        "in_writes_of_the_pictures": seconds["draw"] / seconds["write"],
    }
    benchmark.extra_info.update({**own, **ratios, "torch": torch.__version__})
    assert ratios["ratio_to_kornia"] >= 2 and ratios["ratio_to_one_by_one"] >= 5

"""Time to draw scenes and their views, against kornia's batched augmentation of ready images.

A view of a scene is drawn anew from its factors, the peer changes pixels: rotation, shift and scale
in one warp, then brightness and hue. Both give one view of each image of the batch, with one draw
for each.
"""

import kornia.augmentation as peer
import measuring
import torch
from torch import nn

from vcreg_theory import seeding
from vcreg_theory.datasets import Scenes, render_scenes, sample_scenes, scene_views

BATCH, SIZE, ROUNDS = 256, 32, 15


def test_scenes(found, cpu_rounds):
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
    functions = {
        "draw": lambda: render_scenes(scenes, size=SIZE),
        "two_views": lambda: data.two_views(rows, generator),
        "one_by_one": lambda: [render_scenes(scene, size=SIZE) for scene in single],
        "kornia": lambda: warp(pictures),
    }
    times = cpu_rounds(ROUNDS, functions)
    found.ratio(
        "scenes_two_views",
        f"two views of {BATCH} scenes of {SIZE} x {SIZE}",
        peer="kornia, on ready images",
        own=times["two_views"],
        theirs=measuring.scaled(times["kornia"], 2),
        goal=2.0,
    )
    found.ratio(
        "scenes_batch",
        f"{BATCH} scenes of {SIZE} x {SIZE}",
        peer="one scene at a time, ours",
        own=times["draw"],
        theirs=times["one_by_one"],
        goal=5.0,
    )

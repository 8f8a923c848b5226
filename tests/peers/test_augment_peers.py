"""The steps of the random views against kornia's functions of the same names.

Where the definitions are the same the results agree to rounding. Where they differ by choice, the
test states by how much on random images.
"""

import math

import kornia.color as peer_color
import kornia.enhance as peer_enhance
import kornia.geometry.transform as peer_geometry
import pytest
import torch

from vcreg_theory.datasets.colour import LUMA, recolour
from vcreg_theory.datasets.crop import resample

ROUNDING = 10 * 2 * torch.finfo(torch.float32).eps  # ten roundings of numbers up to 2


@pytest.fixture
def images(generator):
    return torch.rand(64, 3, 16, 16, generator=generator)


def _changed(images, brightness=1.0, contrast=1.0, saturation=1.0, hue=0.0):
    numbers = (brightness, contrast, saturation, hue)
    return recolour(images, *(torch.full((len(images),), x) for x in numbers)).clamp(0, 1)


@pytest.mark.parametrize("factor", [0.0, 0.6, 1.0, 1.4])
def test_recolour__is_kornias_brightness_contrast_and_saturation(images, factor):
    cases = {
        "brightness": peer_enhance.adjust_brightness_accumulative,
        "contrast": peer_enhance.adjust_contrast_with_mean_subtraction,
        "saturation": peer_enhance.adjust_saturation_with_gray_subtraction,
    }
    for name, peer in cases.items():
        found = _changed(images, **{name: factor})
        torch.testing.assert_close(found, peer(images, factor), rtol=0, atol=ROUNDING, msg=name)


def test_recolour__no_saturation_is_kornias_greyscale(images):
    grey = peer_color.rgb_to_grayscale(images).expand_as(images)
    torch.testing.assert_close(_changed(images, saturation=0.0), grey, rtol=0, atol=ROUNDING)


def test_recolour__hue_is_a_turn_of_kornias_yuv(images):
    # (I, Q) is (U, V) reflected and turned by 33 degrees: a turn in one is a turn in the other,
    # the other way round. Their coefficients are rounded to three digits, at most 5e-4 off in
    # each of the six, and back by a matrix with entries up to about 2.
    pale = 0.5 + 0.2 * (images - 0.5)
    yuv = peer_color.rgb_to_yuv(pale)
    angle = 2 * math.pi * 0.1
    u, v = yuv[:, 1], yuv[:, 2]
    turned = torch.stack(
        (
            yuv[:, 0],
            u * math.cos(angle) - v * math.sin(angle),
            u * math.sin(angle) + v * math.cos(angle),
        ),
        1,
    )
    expected = peer_color.yuv_to_rgb(turned)
    torch.testing.assert_close(_changed(pale, hue=0.1), expected, rtol=0, atol=6 * 5e-4 * 2)


@pytest.mark.parametrize("turns", [-0.1, -0.05, 0.05, 0.1])
def test_recolour__hue_turns_as_hsv_does_but_keeps_the_luma(images, turns):
    theirs = peer_enhance.adjust_hue(images, 2 * math.pi * turns)
    ours, opposite = (_changed(images, hue=h) for h in (turns, -turns))
    # The two definitions differ by nearly as much as the change itself (0.086 against 0.100 on
    # average at a tenth of a turn), yet they share its direction: the opposite is far off.
    ours_off, change, opposite_off = (
        (x - theirs).abs().mean().item() for x in (ours, images, opposite)
    )
    assert ours_off < 1.1 * change and opposite_off > 2 * ours_off
    luma = torch.tensor(LUMA)[:, None, None]
    pale = 0.5 + 0.2 * (images - 0.5)  # so pale that nothing is clipped
    kept = ((_changed(pale, hue=turns) - pale) * luma).sum(1).abs().max()
    lost = ((peer_enhance.adjust_hue(pale, 2 * math.pi * turns) - pale) * luma).sum(1).abs().mean()
    assert kept < ROUNDING and lost > 100 * ROUNDING


@pytest.mark.parametrize("turns", [0.0, 1.0])
def test_recolour__full_turns_of_the_hue_change_nothing_in_both(images, turns):
    theirs = peer_enhance.adjust_hue(images, 2 * math.pi * turns)
    torch.testing.assert_close(theirs, images, rtol=0, atol=ROUNDING)
    torch.testing.assert_close(_changed(images, hue=turns), images, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("factor", [0.8, 1.2])
def test_recolour__saturation_differs_from_that_of_hsv(images, factor):
    # HSV scales the distance to the largest channel, ours the distance to the luma. On random
    # images the mean difference is 0.04 to 0.05, the mean change by ours 0.04.
    theirs = peer_enhance.adjust_saturation(images, factor)
    ours = _changed(images, saturation=factor)
    assert 0.01 < (ours - theirs).abs().mean() < 0.1


@pytest.mark.parametrize(
    ("left", "top", "width", "height"), [(4, 2, 8, 12), (0, 0, 16, 16), (3, 9, 7, 5)]
)
def test_resample__is_kornias_crop_and_resize_inside(images, left, top, width, height):
    edges = (left, top, left + width - 1, top + height - 1)
    corners = [[edges[i], edges[j]] for i, j in ((0, 1), (2, 1), (2, 3), (0, 3))]
    expected = peer_geometry.crop_by_indices(
        images,
        torch.tensor(corners).expand(len(images), 4, 2),
        size=(16, 16),
        interpolation="bilinear",
        align_corners=False,
    )
    box = [width / 16, height / 16, (2 * left + width) / 16 - 1, (2 * top + height) / 16 - 1]
    boxes = torch.tensor(box).expand(len(images), 4)
    found = resample(images, boxes, torch.zeros(len(images), dtype=torch.bool))
    # Theirs never looks past the crop: new pixels within half an old one of its edge differ.
    across, down = (math.ceil(16 / (2 * size)) for size in (width, height))
    inside = (..., slice(down, 16 - down), slice(across, 16 - across))
    # Places carry a few roundings of numbers up to 16; neighbouring pixels differ by at most 1.
    torch.testing.assert_close(found[inside], expected[inside], rtol=0, atol=16 * ROUNDING)


def test_resample__flip_is_kornias(images):
    boxes = torch.tensor([1.0, 1.0, 0.0, 0.0]).expand(len(images), 4)
    found = resample(images, boxes, torch.ones(len(images), dtype=torch.bool))
    expected = peer_geometry.hflip(images)
    torch.testing.assert_close(found, expected, rtol=0, atol=16 * ROUNDING)

"""Tests of the random views: exact identities, closed forms, laws of the draws, errors."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from vcreg_theory import seeding
from vcreg_theory.datasets.augment import augment
from vcreg_theory.datasets.colour import LUMA, recolour
from vcreg_theory.datasets.crop import crop_boxes, resample

STILL = {"crop_scale": (1.0, 1.0), "crop_ratio": (1.0, 1.0), "flip": 0.0}
PLAIN = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0, "greyscale": 0.0}
OFF = {**STILL, "jitter": 0.0, "greyscale": 0.0}
# A luma, colour or pixel computed in float32 from numbers up to 2 has at most about ten roundings.
ROUNDING = 10 * 2 * torch.finfo(torch.float32).eps
LEVEL = 1e-4  # of each Kolmogorov-Smirnov test; no test below makes more than nine of them


def _images(generator, n=8, size=16, channels=3):
    return torch.rand(n, channels, size, size, generator=generator)


def _luma(images):
    return (images * torch.tensor(LUMA)[:, None, None]).sum(1, keepdim=True)


def _uniform(values, low, high):
    """Assert that a sample comes from a uniform law."""
    values = np.asarray(values, dtype=np.float64)
    assert stats.kstest(values, "uniform", (low, high - low)).pvalue > LEVEL


def _factor(changed, original):
    """The one number by which each image's entries are multiplied; assert that there is one."""
    changed, original = changed.flatten(1), original.flatten(1)
    factor = (changed * original).sum(1) / original.square().sum(1)
    torch.testing.assert_close(changed, factor[:, None] * original, rtol=0, atol=ROUNDING)
    return factor


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
@pytest.mark.parametrize(("channels", "size"), [(3, 32), (1, 28), (3, 7)])
def test_augment__identity_parameters_return_the_images(generator, dtype, channels, size):
    images = torch.randint(0, 256, (5, channels, size, size), generator=generator)
    images = images.to(dtype) if dtype == torch.uint8 else images.to(dtype) / 255
    options = OFF if channels == 3 else {**OFF, "saturation": 0.0, "hue": 0.0}
    view = augment(images, generator=generator, **options)
    expected = images.float() / 255 if dtype == torch.uint8 else images.float()
    assert torch.equal(view, expected)
    assert view.data_ptr() != images.data_ptr()


def test_augment__certain_flip_is_the_mirror_image(generator):
    images = _images(generator)
    view = augment(images, generator=generator, **{**OFF, "flip": 1.0})
    assert torch.equal(view, images.flip(-1))


def test_augment__flips_with_its_probability(generator):
    n = 4000
    images = torch.tensor([0.0, 1.0]).expand(n, 3, 2, 2)
    view = augment(images, generator=generator, **{**OFF, "flip": 0.3})
    flips = int((view[:, 0, 0, 0] == 1).sum())
    assert stats.binomtest(flips, n, 0.3).pvalue > LEVEL


def test_augment__brightness_multiplies(generator):
    images = 0.5 * _images(generator, n=500)
    view = augment(images, generator=generator, **STILL, **{**PLAIN, "brightness": 0.4}, jitter=1.0)
    _uniform(_factor(view, images), 0.6, 1.4)


def test_augment__contrast_scales_about_the_mean_grey(generator):
    images = 0.3 + 0.4 * _images(generator, n=500)
    view = augment(images, generator=generator, **STILL, **{**PLAIN, "contrast": 0.4}, jitter=1.0)
    grey = _luma(images).mean((2, 3), keepdim=True)
    _uniform(_factor(view - grey, images - grey), 0.6, 1.4)


def test_augment__saturation_scales_about_the_pixels_grey(generator):
    images = 0.3 + 0.4 * _images(generator, n=500)
    view = augment(images, generator=generator, **STILL, **{**PLAIN, "saturation": 0.2}, jitter=1.0)
    _uniform(_factor(view - _luma(images), images - _luma(images)), 0.8, 1.2)


def test_augment__hue_turns_the_colour_differences_and_keeps_the_luma(generator):
    # Colours this close to grey stay inside the cube whatever the angle.
    images = 0.5 + 0.1 * (_images(generator, n=500) - 0.5)
    view = augment(images, generator=generator, **STILL, **{**PLAIN, "hue": 0.1}, jitter=1.0)
    torch.testing.assert_close(_luma(view), _luma(images), rtol=0, atol=ROUNDING)
    before, after = _chroma(images), _chroma(view)
    torch.testing.assert_close(before.abs(), after.abs(), rtol=0, atol=ROUNDING)
    turns = (after * before.conj()).sum((1, 2)).angle() / (2 * torch.pi)
    _uniform(turns, -0.1, 0.1)


def _chroma(images):
    """The colour differences I + iQ of each pixel, with the NTSC's coefficients."""
    weights = torch.tensor([0.5959 + 0.2115j, -0.2746 - 0.5227j, -0.3213 + 0.3112j])
    return (images * weights[:, None, None]).sum(1)


def test_augment__greyscale_has_equal_channels_and_the_same_luma(generator):
    images = _images(generator)
    options = {**PLAIN, "greyscale": 1.0}
    view = augment(images, generator=generator, **STILL, **options, jitter=0.0)
    torch.testing.assert_close(view, _luma(images).expand_as(view), rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("name", ["jitter", "greyscale", "solarize"])
def test_augment__changes_images_with_its_probability(generator, name):
    n = 4000
    images = torch.tensor([0.9, 0.1, 0.2])[:, None, None].expand(n, 3, 2, 2)
    view = augment(images, generator=generator, **{**OFF, name: 0.25})
    # Unchanged up to rounding; a jitter of the same colour to within this has probability 1e-9.
    changed = int(((view - images).abs().amax((1, 2, 3)) > ROUNDING).sum())
    assert stats.binomtest(changed, n, 0.25).pvalue > LEVEL


def test_augment__solarize_inverts_the_bright_half(generator):
    images = torch.tensor([0.0, 0.25, 0.5, 1.0]).reshape(1, 1, 2, 2).expand(1, 3, 2, 2)
    view = augment(images, generator=generator, **{**OFF, "solarize": 1.0})
    assert view[0, 0].flatten().tolist() == [0.0, 0.25, 0.5, 0.0]


def _ramps(n, size):
    """Images whose first two channels are the place across and down, from 0 to 1."""
    place = (torch.arange(size) + 0.5) / size
    across, down = place.expand(size, size), place[:, None].expand(size, size)
    return torch.stack((across, down, torch.full((size, size), 0.5))).expand(n, 3, size, size)


def _crops_of_ramps(views):
    """The (signed width, height) and centres of the crops, read off views of `_ramps`."""
    size = views.shape[-1]
    a, b = size // 4, size - 1 - size // 4  # central columns never lie in the border's half pixel
    across = views[:, 0, size // 2, [a, b]]
    down = views[:, 1, [a, b], size // 2]
    ends = torch.stack((across, down), 1).double()
    extent = (ends[:, :, 1] - ends[:, :, 0]) * size / (b - a)
    return extent, ends.sum(2) - 1


@pytest.mark.parametrize(
    ("scale", "ratio"),
    [((0.2, 1.0), (0.75, 4 / 3)), ((0.5, 0.6), (1.0, 1.0)), ((0.3, 0.3), (0.4, 3))],
)
def test_augment__crops_follow_the_stated_law(generator, scale, ratio):
    options = {**OFF, "crop_scale": scale, "crop_ratio": ratio, "flip": 0.5}
    views = augment(_ramps(4000, 16), generator=generator, **options)
    extent, centre = _crops_of_ramps(views)
    sizes = extent.abs()
    # Sampling places carry a few roundings of numbers up to 16, divided by the span of 7 pixels.
    slack = 10 * 16 * torch.finfo(torch.float32).eps
    assert sizes.max() <= 1 + slack and (centre.abs() + sizes).max() <= 1 + slack
    area = sizes.prod(1)
    if scale[0] == scale[1]:
        torch.testing.assert_close(area, torch.full_like(area, scale[0]), rtol=0, atol=slack)
    else:
        _uniform(area, *scale)
    ratios = (sizes[:, 0] / sizes[:, 1]).log()
    lower = (area.log()).clamp(min=np.log(ratio[0]))
    upper = (-area.log()).clamp(max=np.log(ratio[1]))
    if ratio[0] == ratio[1]:
        assert ratios.abs().max() <= 4 * slack
    else:
        inside = upper - lower > 0.01  # elsewhere rounding is not small against the range
        _uniform(((ratios - lower) / (upper - lower))[inside], 0, 1)
    for axis in (0, 1):
        inside = sizes[:, axis] < 0.99
        _uniform((centre[:, axis] / (1 - sizes[:, axis]))[inside], -1, 1)
    assert stats.binomtest(int((extent[:, 0] < 0).sum()), 4000, 0.5).pvalue > LEVEL
    # The draws are independent: no rank correlation between any two of area, places and ratio.
    columns = torch.stack((area, ratios, centre[:, 0], centre[:, 1], extent[:, 0].sign()), 1)
    columns = columns[:, columns.std(0) > 10 * slack]
    correlation = stats.spearmanr(columns.numpy()).statistic
    off_diagonal = correlation[~np.eye(len(correlation), dtype=bool)]
    assert np.abs(off_diagonal).max() < 5 / np.sqrt(4000)  # five standard errors


def test_crop_boxes__whole_image_has_one_crop(generator):
    boxes = crop_boxes(torch.rand(9, 4, generator=generator), scale=(1.0, 1.0), ratio=(0.5, 2.0))
    assert torch.equal(boxes, torch.tensor([1.0, 1.0, 0.0, 0.0]).expand(9, 4))


@pytest.mark.parametrize("shape", [(16, 16), (9, 14)])
@pytest.mark.parametrize("mirrored", [False, True])
def test_resample__agrees_with_linear_interpolation_of_rows_and_columns(generator, shape, mirrored):
    height, width = shape
    images = torch.rand(6, 2, height, width, generator=generator)
    uniforms = torch.rand(6, 4, generator=generator)
    boxes = crop_boxes(uniforms, scale=(0.1, 0.9), ratio=(0.5, 2.0))
    found = resample(images, boxes, torch.full((6,), mirrored))
    for image, box, view in zip(
        images.double().numpy(), boxes.double().numpy(), found, strict=True
    ):
        rows, columns = (
            ((middle + extent * (2 * np.arange(count) + 1 - count) / count) + 1) * count / 2 - 0.5
            for extent, middle, count in ((box[1], box[3], height), (box[0], box[2], width))
        )
        columns = columns[::-1] if mirrored else columns
        for channel, expected in zip(image, view.numpy(), strict=True):
            across = np.stack([np.interp(columns, np.arange(width), line) for line in channel])
            both = np.stack([np.interp(rows, np.arange(height), line) for line in across.T], 1)
            # A place is rounded to 16 eps / 2 of a pixel, a few times; neighbours differ by 1.
            np.testing.assert_allclose(expected, both, rtol=0, atol=16 * ROUNDING)


def _numbers(n, *values):
    return [torch.full((n,), float(value)) for value in values]


def test_recolour__closed_form_of_all_four_changes(generator):
    x = _images(generator, n=4)
    grey = _luma(x)
    mean = grey.mean((2, 3), keepdim=True)
    cases = {
        (1, 1, 1, 0): x,
        (0.7, 1, 1, 0): 0.7 * x,
        (1, 0.6, 1, 0): mean + 0.6 * (x - mean),
        (1, 1, 0.3, 0): grey + 0.3 * (x - grey),
        (1, 1, 1, 1): x,
        (1, 1, 1, 0.5): 2 * grey - x,  # half a turn reverses every colour difference
        (1, 1, 0, 0.2): grey.expand_as(x),
        (0, 1.3, 0.7, 0.4): torch.zeros_like(x),
        (1.2, 0, 0.7, 0.4): (1.2 * mean).expand_as(x),
    }
    for numbers, expected in cases.items():
        found = recolour(x, *_numbers(4, *numbers))
        torch.testing.assert_close(found, expected, rtol=0, atol=ROUNDING, msg=str(numbers))


def test_recolour__composes_and_commutes(generator):
    x = _images(generator, n=4)
    one_by_one = x
    for numbers in [(1, 1, 1, 0.1), (1, 1, 0.8, 0), (1, 1.3, 1, 0), (0.7, 1, 1, 0)]:
        one_by_one = recolour(one_by_one, *_numbers(4, *numbers))
    together = recolour(x, *_numbers(4, 0.7, 1.3, 0.8, 0.1))
    torch.testing.assert_close(one_by_one, together, rtol=0, atol=4 * ROUNDING)
    back = recolour(recolour(x, *_numbers(4, 1, 1, 1, 0.13)), *_numbers(4, 1, 1, 1, -0.13))
    torch.testing.assert_close(back, x, rtol=0, atol=4 * ROUNDING)


def test_recolour__grey_images_as_three_equal_channels(generator):
    x = _images(generator, n=4, channels=1)
    numbers = _numbers(4, 0.8, 1.3, 1, 0)
    coloured = recolour(x.expand(4, 3, 16, 16), *numbers)
    torch.testing.assert_close(
        recolour(x, *numbers).expand_as(coloured), coloured, rtol=0, atol=ROUNDING
    )


def test_recolour__positive_hue_goes_from_red_to_green():
    red = torch.tensor([1.0, 0.0, 0.0]).reshape(1, 3, 1, 1)
    changed = recolour(red, *_numbers(1, 1, 1, 1, 1 / 24)).flatten()
    assert changed[1] > 0.05 and changed[2] < 0


def test_augment__every_image_has_its_own_draw(generator):
    images = _images(generator, n=1).expand(50, 3, 16, 16)
    assert len(augment(images, generator=generator).flatten(1).unique(dim=0)) == 50


def test_augment__reproducible_by_generator_alone(generator):
    images = _images(generator)

    def view(seed):
        return augment(images, generator=torch.Generator().manual_seed(seed))

    torch.manual_seed(1)
    first = view(3)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    assert torch.equal(first, view(3)) and not torch.equal(first, view(4))
    assert torch.equal(before, torch.get_rng_state())


def test_augment__options_do_not_shift_other_draws():
    images = 0.25 + 0.5 * _ramps(64, 16)

    def crops(**options):
        source = torch.Generator().manual_seed(5)
        view = augment(images, generator=source, **{**PLAIN, "jitter": 0.8, **options})
        return (view - 0.25) * 2

    plain, spread = (_crops_of_ramps(crops(contrast=c))[0] for c in (0.0, 0.1))
    width, height = (spread / plain).T  # both are scaled by one factor of contrast
    torch.testing.assert_close(width, height, rtol=0, atol=1e-4)
    bright = crops(brightness=0.0, solarize=0.0, crop_scale=(1.0, 1.0))
    assert torch.equal(_crops_of_ramps(bright)[0][:, 0].sign(), plain[:, 0].sign())


def test_augment__draws_are_independent():
    # An option never shifts the draws of another, so that views of one seed, each with one option
    # on, show one set of draws.
    n = 4000
    images = (0.3 + 0.2 * _ramps(n, 8)).clone()
    images[:, 2] = 0.6
    mean = _luma(images).mean((1, 2, 3))

    def view(**options):
        source = seeding.torch_generator(0, "independent draws")
        settings = {**PLAIN, "jitter": 1.0, **STILL, **options}
        return augment(images, generator=source, **settings)

    extent, centre = _crops_of_ramps((view(crop_scale=(0.2, 1.0), crop_ratio=(0.5, 2)) - 0.3) / 0.2)
    area = extent.prod(1).abs()
    red = images[0, 0, 0, 0]
    hue = view(hue=0.1)
    columns = {
        "area": area,
        "ratio": (extent[:, 0] / extent[:, 1]).abs().log(),
        "across": centre[:, 0] / (1 - extent[:, 0].abs()),
        "down": centre[:, 1] / (1 - extent[:, 1].abs()),
        "flip": view(flip=0.5)[:, 0, 0, 0] > red,
        "jitter": view(brightness=0.4, jitter=0.5)[:, 2, 0, 0] != 0.6,
        "brightness": view(brightness=0.4)[:, 2, 0, 0],
        "contrast": (view(contrast=0.4)[:, 2, 0, 0] - mean) / (0.6 - mean),
        "saturation": view(saturation=0.2)[:, 2, 0, 0],
        "hue": hue[:, 0, 0, 0] - hue[:, 2, 0, 0],
        "greyscale": view(greyscale=0.5)[:, 2, 0, 0] < 0.55,
        "solarize": view(solarize=0.5)[:, 2, 0, 0] < 0.5,
    }
    matrix = np.stack([column.double().numpy() for column in columns.values()], 1)
    assert (matrix.std(0) > 0).all()
    correlation = stats.spearmanr(matrix).statistic
    off_diagonal = correlation[~np.eye(len(correlation), dtype=bool)]
    assert np.abs(off_diagonal).max() < 5 / np.sqrt(n)  # five standard errors, for each of 66 pairs


def test_augment__bytes_and_floats_agree(generator):
    images = torch.randint(0, 256, (8, 3, 12, 20), generator=generator, dtype=torch.uint8)
    views = [
        augment(x, generator=seeding.torch_generator(0, "views"))
        for x in (images, images.float() / 255, images.double() / 255)
    ]
    assert all(view.dtype == torch.float32 and view.shape == images.shape for view in views)
    assert torch.equal(views[0], views[1])
    torch.testing.assert_close(views[0], views[2], rtol=0, atol=ROUNDING)


def test_augment__autocast_changes_nothing(generator):
    images = _images(generator)
    plain = augment(images, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(augment(images, generator=torch.Generator().manual_seed(0)), plain)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_augment__same_views_on_cuda_from_a_cpu_generator(generator):
    images = _images(generator)
    views = [
        augment(images.to(device), generator=torch.Generator().manual_seed(0))
        for device in ("cpu", "cuda")
    ]
    assert views[1].device.type == "cuda"
    torch.testing.assert_close(views[0], views[1].cpu(), rtol=0, atol=32 * ROUNDING)
    on_device = torch.Generator("cuda").manual_seed(0)
    assert augment(images.cuda(), generator=on_device).device.type == "cuda"


def test_augment__grey_images_change_brightness_and_contrast(generator):
    images = _images(generator, channels=1)
    view = augment(images, generator=generator, saturation=0.0, hue=0.0, greyscale=0.0)
    assert view.shape == images.shape
    still = {**STILL, **PLAIN, "brightness": 0.4}
    view = augment(0.5 * images, generator=generator, **still, jitter=1.0)
    assert ((_factor(view, 0.5 * images) - 1).abs() <= 0.4).all()


fraction = st.floats(0, 1)


@given(
    seed=st.integers(0, 2**32),
    shape=st.tuples(st.integers(1, 4), st.just(3), st.integers(1, 9), st.integers(1, 9)),
    scale=st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)).map(sorted),
    widths=st.tuples(fraction, fraction, fraction, st.floats(0, 0.5)),
    probabilities=st.tuples(fraction, fraction, fraction, fraction),
)
def test_augment__result_lies_in_the_unit_interval(seed, shape, scale, widths, probabilities):
    source = torch.Generator().manual_seed(seed)
    images = torch.rand(shape, generator=source)
    kept = images.clone()
    names = ("brightness", "contrast", "saturation", "hue")
    chances = ("flip", "jitter", "greyscale", "solarize")
    options = dict(zip(names + chances, widths + probabilities, strict=True))
    view = augment(images, generator=source, crop_scale=tuple(scale), **options)
    assert view.shape == images.shape and view.dtype == torch.float32
    assert view.min() >= 0 and view.max() <= 1
    assert torch.equal(images, kept)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"images": torch.zeros(3, 8, 8)}, ValueError, r"got \(3, 8, 8\)"),
        ({"images": torch.zeros(2, 4, 8, 8)}, ValueError, "1 or 3 channels"),
        ({"images": torch.zeros(0, 3, 8, 8)}, ValueError, r"got \(0, 3, 8, 8\)"),
        ({"images": torch.full((1, 3, 8, 8), 1.5)}, ValueError, "from 1.5 to 1.5"),
        ({"images": torch.full((1, 3, 8, 8), float("nan"))}, ValueError, "from nan to nan"),
        ({"images": torch.zeros(1, 3, 8, 8, dtype=torch.int64)}, TypeError, "torch.int64"),
        ({"images": np.zeros((1, 3, 8, 8))}, TypeError, "ndarray"),
        ({"images": torch.zeros(1, 1, 8, 8)}, ValueError, "1 channel have no colour"),
        ({"generator": 0}, TypeError, "generator must be a torch.Generator, got int"),
        ({"crop_scale": (0.0, 1.0)}, ValueError, "crop_scale must be two positive"),
        ({"crop_scale": (0.5, 0.2)}, ValueError, "crop_scale must be two positive"),
        ({"crop_scale": (0.5, 1.2)}, ValueError, "crop_scale must not exceed 1"),
        ({"crop_scale": (0.5, 0.6, 0.7)}, ValueError, "crop_scale must be two positive"),
        ({"crop_ratio": (1.5, 2.0)}, ValueError, "crop_ratio must contain 1"),
        ({"crop_ratio": (float("nan"), 2.0)}, ValueError, "crop_ratio must be finite"),
        ({"flip": 1.5}, ValueError, "flip must lie between 0 and 1, got 1.5"),
        ({"jitter": -0.1}, ValueError, "jitter must lie between 0 and 1"),
        ({"brightness": 1.5}, ValueError, "brightness must lie between 0 and 1"),
        ({"hue": 0.6}, ValueError, "hue must lie between 0 and 0.5"),
        ({"solarize": "yes"}, TypeError, "solarize must be a real number"),
    ],
)
def test_augment__refuses_bad_input(generator, change, error, message):
    arguments = {"images": torch.zeros(2, 3, 8, 8), "generator": generator, **change}
    with pytest.raises(error, match=message):
        augment(arguments.pop("images"), **arguments)

"""Tests of the scenes: pictures against a second rasteriser, factors read back, the data set."""

import hashlib
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.path import Path
from scene_reading import clipped_area, outline, read, shoelace

from vcreg_theory import datasets, seeding, stats
from vcreg_theory.datasets import SCENE_FACTORS, SHAPES, Scenes, render_scenes, scene_views

DEVICES = ["cpu"] + ["cuda"] * torch.cuda.is_available()
EXACT = 1e-12  # some hundred roundings of float64 on numbers of order one
# largest difference between the area of a pixel inside a half-plane, whatever its angle, and the
# ramp that the renderer uses: attained at 45 degrees
RAMP = (3 - 2 * math.sqrt(2)) / 4


def _scenes(n, dtype=torch.float64, seed=0):
    generator = seeding.torch_generator(seed, "test scenes")
    return datasets.sample_scenes(n, generator=generator, dtype=dtype)


def _middle(shape=0, **factors):
    """One scene with all factors at 1/2 but those given."""
    values = [factors.get(name, 0.5) for name in SCENE_FACTORS]
    return Scenes(torch.tensor([shape]), torch.tensor([values], dtype=torch.float64))


def _column(scenes, name):
    return scenes.factors[:, SCENE_FACTORS.index(name)]


def test_render_scenes__closed_form():
    # Red, all of it inside the shape at the middle pixel; light from the left at the edge pixel.
    picture = render_scenes(_middle(hue=0.0, background=0.0, light=0.0), size=9)[0]
    assert picture[:, 4, 4].tolist() == pytest.approx([0.7, 0.25, 0.25], abs=EXACT)
    assert picture[:, 4, 0].tolist() == pytest.approx([0.1 * (1 + 0.3 * 8 / 9)] * 3, abs=EXACT)
    blue = render_scenes(_middle(hue=1.0), size=9)[0, :, 4, 4]
    assert blue.tolist() == pytest.approx([0.25, 0.25, 0.7], abs=EXACT)


@pytest.mark.parametrize("shape", SHAPES)
def test_render_scenes__coverage_is_that_of_the_outline(shape):
    # At 512 pixels the ellipse's radius of curvature is at least 30 pixels: within a pixel its edge
    # leaves the tangent by at most 1/30. Its first-order distance errs by half a squared pixel over
    # an axis of at least 61 pixels, and the outline's 200 chords by at most 1/60.
    size, allowed = 512, RAMP + (1 / 15 if shape == "ellipse" else 1e-9)
    scene = _middle(SHAPES.index(shape), size=1.0, x=0.3, y=0.9, rotation=0.8)
    coverage = read(render_scenes(scene, size=size)).coverage[0].numpy()
    tilt = math.pi / 3 * 0.6
    turn = np.array([[math.cos(tilt), math.sin(tilt)], [-math.sin(tilt), math.cos(tilt)]])
    corners = 0.6 * outline(shape) @ turn + 0.32 * np.array([-0.4, 0.8])
    corners = (corners + 1) * size / 2  # in pixels
    y, x = np.divmod(np.arange(size**2), size)
    middles = np.stack([x, y], 1) + 0.5
    inside = Path(corners).contains_points(middles)
    # pixels whose middle is at least one pixel from the edge are wholly inside or outside
    steps = [(0, 1), (1, 0), (0, -1), (-1, 0)]
    near = [Path(corners).contains_points(middles + step) != inside for step in steps]
    edge = np.any(near, 0)
    sharp = [] if shape == "ellipse" else corners
    blunt = np.all([np.abs(middles - c).max(1) > 2 for c in sharp], 0) | (shape == "ellipse")
    assert np.abs(coverage.ravel() - inside)[~edge & blunt].max() <= EXACT
    rows = np.flatnonzero(edge & blunt)
    true = [clipped_area(corners, middles[i] - 0.5, middles[i] + 0.5) for i in rows]
    assert len(rows) > 800 and np.abs(coverage.ravel()[rows] - true).max() <= allowed


def test_outlines__have_unit_area_about_their_centroid():
    for shape in SHAPES:  # the ellipse's 200 corners miss (2 pi / 200)^2 / 6 of its area
        area, centroid = shoelace(outline(shape))
        assert (
            abs(area - 1) < (1.7e-4 if shape == "ellipse" else EXACT)
            and np.abs(centroid).max() < EXACT
        )


def test_render_scenes__hue_background_and_light_are_exact_in_the_picture():
    scenes = _scenes(300)
    reading = read(render_scenes(scenes, size=16))
    for name in ("hue", "background", "light"):
        assert (getattr(reading, name) - _column(scenes, name)).abs().max() <= EXACT


def test_render_scenes__size_and_place_are_moments_of_the_coverage():
    scenes, size = _scenes(40), 256
    reading = read(render_scenes(scenes, size=size))
    side = 0.36 + 0.24 * _column(scenes, "size")
    # An outline of length P touches at most 2 P/h + 8 pixels of width h, each off by RAMP at most,
    # but for four at each of at most eight corners. P is at most 5.8 sides, that of the T.
    width = 2 / size
    wrong = RAMP * (2 * 5.8 * side * width + 8 * width**2) + 32 * width**2
    assert ((reading.area - side.square()).abs() <= wrong).all()
    # mass at a distance of at most 1.1 sides moves the centroid
    for found, name in ((reading.x, "x"), (reading.y, "y")):
        moved = (found - 0.32 * (2 * _column(scenes, name) - 1)).abs()
        assert (moved <= 1.1 * side * wrong / reading.area).all()


@pytest.mark.parametrize("name", SCENE_FACTORS)
def test_render_scenes__a_statistic_grows_with_each_factor(name):
    levels = torch.linspace(0, 1, 21, dtype=torch.float64)
    statistic = {"size": "area", "rotation": "tilt"}.get(name, name)
    for shape, factors in zip(*_scenes(12), strict=True):
        row = factors.repeat(len(levels), 1)
        row[:, SCENE_FACTORS.index(name)] = levels
        pictures = render_scenes(Scenes(shape.repeat(len(levels)), row), size=32)
        found = getattr(read(pictures), statistic)
        assert (found.diff() > 0).all()
        # a twentieth of the range changes some byte of the picture
        assert pictures.diff(dim=0).abs().amax((1, 2, 3)).min() > 1 / 255


def test_render_scenes__the_class_is_read_off_by_drawing_what_was_read():
    scenes = _scenes(200)
    pictures = render_scenes(scenes)
    reading = read(pictures)
    columns = {
        "size": (reading.area.sqrt() - 0.36) / 0.24,
        "x": reading.x / 0.64 + 0.5,
        "y": reading.y / 0.64 + 0.5,
        "rotation": reading.tilt * 1.5 / math.pi + 0.5,
    }
    guess = torch.stack([columns.get(k, getattr(reading, k, None)) for k in SCENE_FACTORS], 1)
    guess = guess.clamp(0, 1)
    distances = [
        (render_scenes(Scenes(torch.full((200,), shape), guess)) - pictures).square().sum((1, 2, 3))
        for shape in range(4)
    ]
    assert torch.equal(torch.stack(distances).argmin(0), scenes.shapes)


def test_render_scenes__nothing_is_clipped_or_cut_off():
    corners = torch.tensor(list(itertools.product([0.0, 1.0], repeat=7)), dtype=torch.float64)
    for shape in range(4):
        scenes = Scenes(torch.full((len(corners),), shape), corners)
        pictures = render_scenes(scenes, size=64)
        assert pictures.min() > 0.05 and pictures.max() < 1
        reading = read(pictures)
        border = torch.cat([reading.coverage[:, 0], reading.coverage[:, :, -1]], 1)
        assert border.abs().max() <= EXACT


@given(
    shape=st.integers(0, 3),
    factors=st.lists(st.floats(0, 1), min_size=7, max_size=7),
    size=st.integers(8, 24),
)
def test_render_scenes__pictures_are_pictures(shape, factors, size):
    exact = torch.tensor([factors], dtype=torch.float64)
    double = render_scenes(Scenes(torch.tensor([shape]), exact), size=size)
    assert double.shape == (1, 3, size, size) and double.dtype == torch.float64
    assert double.min() > 0 and double.max() < 1
    single = render_scenes(Scenes(torch.tensor([shape]), exact.float()), size=size)
    # A coordinate goes through about 10 roundings of 6e-8 and pixels are at most 12 to its unit;
    # the factors themselves, rounded, act no stronger. Grey values change by less than coverage.
    assert single.dtype == torch.float32 and (single - double).abs().max() <= 2 * 10 * 12 * 6e-8


def test_render_scenes__a_picture_does_not_depend_on_its_batch():
    scenes = _scenes(150)
    rows = torch.tensor([149, 3, 70])
    together = render_scenes(scenes)[rows]
    alone = render_scenes(Scenes(scenes.shapes[rows], scenes.factors[rows]))
    assert (together - alone).abs().max() <= EXACT
    empty = Scenes(scenes.shapes[:0], scenes.factors[:0])
    assert render_scenes(empty, size=9).shape == (0, 3, 9, 9)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_render_scenes__keeps_device_and_dtype(device, dtype):
    scenes = _scenes(20, dtype)
    found = render_scenes(Scenes(*(part.to(device) for part in scenes)))
    assert found.dtype == dtype and found.device.type == device
    tolerance = 2 * 10 * 10 * torch.finfo(dtype).eps
    torch.testing.assert_close(found.cpu(), render_scenes(scenes), rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    ("shapes", "factors", "error", "message"),
    [
        (torch.zeros(2, dtype=torch.int64), torch.rand(2, 6), ValueError, "7 columns hue, size"),
        (torch.zeros(3, dtype=torch.int64), torch.rand(2, 7), ValueError, r"shape \(2,\)"),
        (torch.zeros(2), torch.rand(2, 7), TypeError, "shapes must be an int64 tensor"),
        (torch.tensor([0, 4]), torch.rand(2, 7), ValueError, "lie in 0 to 3, got 0 to 4"),
        (torch.tensor([0]), torch.full((1, 7), 1.5), ValueError, r"factors must lie in \[0, 1\]"),
        (torch.tensor([0]), torch.full((1, 7), float("nan")), ValueError, "7 NaN"),
    ],
)
def test_render_scenes__refuses_bad_scenes(shapes, factors, error, message):
    with pytest.raises(error, match=message):
        render_scenes(Scenes(shapes, factors))


def test_render_scenes__refuses_bad_options():
    with pytest.raises(ValueError, match="size must be at least 8, got 7"):
        render_scenes(_scenes(1), size=7)
    with pytest.raises(TypeError, match="scenes must be Scenes, got tuple"):
        render_scenes(tuple(_scenes(1)))


@pytest.fixture(scope="module")
def data():
    return scene_views(n_train=600, n_test=50)


def test_scene_views__images_are_the_factors_rounded_to_bytes(data):
    for part, factors in ((data.train, data.train_factors), (data.test, data.test_factors)):
        drawn = render_scenes(Scenes(part.labels, factors.double()))
        assert torch.equal(part.images, (drawn * 255).round().to(torch.uint8))
        assert factors.dtype == torch.float32 and part.images.shape[1:] == (3, 32, 32)
    assert len(data) == 600 and data.factor_names == SCENE_FACTORS and data.name == "scenes"


def test_scene_views__factors_are_uniform_and_classes_balanced():
    data = scene_views(n_train=4000, n_test=1, size=8)
    # eight tests: one of them fails with probability 1e-3 for a fresh seed
    for column in data.train_factors.T:
        assert stats.uniform_pvalues_test(column).pvalue > 1e-3 / 8
    counts = torch.bincount(data.train.labels, minlength=4)
    assert stats.chi2_test(counts, np.full(4, 0.25)).pvalue > 1e-3 / 8


def test_scene_views__identity_says_what_the_data_are(data):
    identity = data.identity
    assert identity == scene_views(n_train=600, n_test=50).identity
    assert identity["noise"].startswith("hue 0.4, size 0.085, x 0.05")
    digest = hashlib.sha256(data.test.images.numpy().tobytes()).hexdigest()
    assert identity["test_sha256"] == digest
    changes = [{"seed": 1}, {"size": 16}, {"noise": {"hue": 0.1}}, {"pixel_noise": 0.1}]
    others = [scene_views(**{"n_train": 600, "n_test": 50, **change}) for change in changes]
    assert len({str(other.identity) for other in (data, *others)}) == 5
    hashes = [other.identity["test_sha256"] for other in (data, *others)]
    assert len(set(hashes)) == 3 and hashes[0] == hashes[3] == hashes[4]


def test_scene_views__pictures_belong_to_the_renderer_version():
    # A change of the pictures must come with a new RENDERER and a new hash here.
    identity = scene_views(n_train=1, n_test=64, size=16).identity
    assert (identity["renderer"], identity["test_sha256"][:16]) == ("1", "f8347b005e0eae46")


def test_scene_views__without_noise_return_the_rows_asked_for(generator):
    data = scene_views(n_train=9, n_test=1, noise={})
    rows = torch.tensor([7, 0, 7])
    for view in data.two_views(rows, generator):
        # rounding to a byte, and float32 as in the test of pictures above
        error = view - datasets.to_float(data.train.images[rows])
        assert view.dtype == torch.float32 and error.abs().max() <= 0.5 / 255 + 2e-4


def test_scene_views__perturb_the_named_factors_alone(generator):
    data = scene_views(n_train=50, n_test=1, noise={"light": 0.2, "x": 0.1})
    rows = torch.arange(50)
    for view in data.two_views(rows, generator):
        reading = read(view)
        for name in ("hue", "background", "light"):
            true = data.train_factors[:, SCENE_FACTORS.index(name)]
            # float32 moves what is read by some 1e-6, noise of 0.2 moves one row of 50 by more
            assert ((getattr(reading, name) - true).abs().max() > 1e-2) == (name == "light")


def test_scene_views__factors_of_two_views_correlate_as_predicted(generator):
    data = scene_views(n_train=6000, n_test=1, size=8)
    pair = [read(view) for view in data.two_views(torch.arange(6000), generator)]
    for name, order in itertools.product(("hue", "background", "light"), (1, 2)):
        a, b = ((math.pi * order * getattr(view, name)).cos() for view in pair)
        law = datasets.view_correlation(datasets.SCENE_NOISE[name], order)
        # cosines of a uniform variable have mean 0 and square 1/2; six intervals, in all 1e-3
        interval = stats.mean_interval(2 * a * b, level=1 - 1e-3 / 6)
        assert interval.low <= law <= interval.high


def test_scene_views__are_seeded_and_leave_global_state(data):
    rows, state = torch.arange(20), torch.get_rng_state()
    a, b = data.two_views(rows, seeding.torch_generator(0))
    again = data.two_views(rows, seeding.torch_generator(0))
    assert torch.equal(a, again[0]) and torch.equal(b, again[1]) and not torch.equal(a, b)
    assert torch.equal(state, torch.get_rng_state())


def test_scene_views__pixel_noise_has_the_stated_deviation(generator):
    noisy = scene_views(n_train=40, n_test=1, noise={}, pixel_noise=0.1)
    clean = scene_views(n_train=40, n_test=1, noise={})
    rows = torch.arange(40)
    a, b = (
        view - plain
        for view, plain in zip(
            noisy.two_views(rows, generator), clean.two_views(rows, generator), strict=True
        )
    )
    n = a.numel()  # at 4.4 deviations of a normal variable, twice: 2e-5
    assert abs(a.square().mean().item() / 0.01 - 1) < 4.4 * (2 / n) ** 0.5
    assert abs((a * b).mean().item() / 0.01) < 4.4 / n**0.5


@pytest.mark.parametrize("device", DEVICES)
def test_scene_views__live_on_the_device(device):
    data = scene_views(n_train=20, n_test=4, size=8, pixel_noise=0.1, device=device)
    views = data.two_views(torch.arange(20), seeding.torch_generator(0, device=device))
    assert all(view.device.type == device and view.shape == (20, 3, 8, 8) for view in views)
    held = (*data.train, *data.test, data.train_factors, data.test_factors)
    assert all(part.device.type == device for part in held)
    assert (
        data.identity["test_sha256"]
        == scene_views(n_train=20, n_test=4, size=8).identity["test_sha256"]
    )


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"noise": {"colour": 0.1}}, ValueError, "named in noise must be one of 'hue', 'size'"),
        ({"noise": {"hue": -0.1}}, ValueError, r"noise\['hue'\] must not be negative, got -0.1"),
        ({"noise": {"hue": float("inf")}}, ValueError, r"noise\['hue'\] must be finite"),
        ({"noise": {"hue": "strong"}}, TypeError, r"noise\['hue'\] must be a real number"),
        ({"noise": 0.1}, TypeError, "noise must be a mapping, got float"),
        ({"size": 7}, ValueError, "size must be at least 8"),
        ({"size": 32.0}, TypeError, "size must be an integer"),
        ({"n_train": 0}, ValueError, "n_train must be at least 1"),
        ({"n_test": 0}, ValueError, "n_test must be at least 1"),
        ({"pixel_noise": -1.0}, ValueError, "pixel_noise must not be negative"),
        ({"seed": -1}, ValueError, "seed must be at least 0"),
    ],
)
def test_scene_views__refuse_bad_options(options, error, message):
    with pytest.raises(error, match=message):
        scene_views(**{"n_train": 4, "n_test": 4, **options})


def test_scene_views__refuse_bad_rows(data):
    with pytest.raises(ValueError, match="rows must lie in 0 to 599, got 0 to 600"):
        data.two_views(torch.tensor([0, 600]), torch.Generator())


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n": 0}, ValueError, "n must be at least 1"),
        ({"n": 2, "dtype": torch.float16}, ValueError, "dtype must be one of"),
    ],
)
def test_sample_scenes__refuses_bad_options(options, error, message, generator):
    with pytest.raises(error, match=message):
        datasets.sample_scenes(**options, generator=generator)

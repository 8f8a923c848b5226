"""Tests of the form that data sets share: the checks, the digits with their views, the sheet."""

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vcreg_theory import datasets, seeding, stats
from vcreg_theory.datasets import Images, ViewDataset, contact_sheet, digit_views, to_float

DEVICES = ["cpu"] + ["cuda"] * torch.cuda.is_available()


@pytest.fixture(scope="module")
def digits():
    return digit_views()


@pytest.fixture(scope="module")
def still():
    return digit_views(shift=0, contrast=0.0, noise=0.0)


def test_to_float__closed_form():
    every = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_float(every), torch.arange(256) / 255)
    for dtype in (torch.float16, torch.float32, torch.float64):
        assert torch.equal(
            to_float(torch.tensor([0.25, 1.0], dtype=dtype)), torch.tensor([0.25, 1])
        )


@pytest.mark.parametrize("device", DEVICES)
def test_to_float__keeps_the_device(device):
    found = to_float(torch.zeros(2, dtype=torch.uint8, device=device))
    assert found.dtype == torch.float32 and found.device.type == device


@pytest.mark.parametrize("images", [[0.5], torch.zeros(2, dtype=torch.int64)])
def test_to_float__refuses_what_is_no_image(images):
    with pytest.raises(TypeError, match="images must be"):
        to_float(images)


def _fields(**change):
    part = Images(torch.rand(4, 1, 2, 2), torch.zeros(4, dtype=torch.int64))
    fields = {"name": "n", "identity": {"a": "b"}, "train": part, "test": part}
    return {**fields, "two_views": lambda rows, generator: (rows, rows), **change}


def _part(images=None, labels=None):
    images = torch.rand(4, 1, 2, 2) if images is None else images
    return Images(images, torch.zeros(4, dtype=torch.int64) if labels is None else labels)


def test_view_dataset__holds_what_it_was_given():
    factors = torch.rand(4, 2)
    data = ViewDataset(
        **_fields(train_factors=factors, test_factors=factors, factor_names=("a", "b"))
    )
    assert len(data) == 4 and data.device == torch.device("cpu")
    assert data.train_factors is factors and "tensor" not in repr(data)
    with pytest.raises(AttributeError):
        data.name = "other"


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"train": _part(torch.rand(4, 2, 2))}, ValueError, r"train images .* shape \(4, 2, 2\)"),
        ({"test": _part(torch.rand(0, 1, 2, 2))}, ValueError, r"test images .* a row"),
        ({"train": _part(torch.rand(4, 1, 2, 2).double())}, TypeError, "train .* torch.float64"),
        ({"train": _part(torch.full((4, 1, 2, 2), 1.5))}, ValueError, "lie in .* 1.5 to 1.5"),
        ({"test": _part(torch.full((4, 1, 2, 2), float("nan")))}, ValueError, "got nan"),
        ({"test": _part(labels=torch.zeros(3, dtype=torch.int64))}, ValueError, "test labels"),
        ({"test": _part(labels=torch.zeros(4))}, ValueError, "labels must be int64"),
        ({"test": _part(torch.rand(4, 3, 2, 2))}, ValueError, "must share shape and device"),
        ({"factor_names": ("a",)}, ValueError, "train_factors must be given"),
        ({"train_factors": torch.rand(4, 1)}, ValueError, r"float32 of shape \(4, 0\)"),
        ({"identity": {"seed": 0}}, TypeError, "map strings to strings"),
    ],
)
def test_view_dataset__refuses_fields_that_disagree(change, error, message):
    with pytest.raises(error, match=message):
        ViewDataset(**_fields(**change))


def test_digit_views__are_the_digits_in_the_unit_interval(digits):
    for train, part in ((True, digits.train), (False, digits.test)):
        plain = datasets.digits(train=train, jitter=0.0)
        assert torch.equal(part.labels, plain.labels) and part.images.dtype == torch.float32
        # the jitter adds at most 0.001, the division takes away at most as much
        assert (part.images - plain.images).abs().max() <= 1e-3
        assert part.images.min() >= 0 and part.images.max() <= 1
    assert len(digits) == 1000 and len(digits.test.images) == 797


def test_digit_views__identity_is_that_of_the_pixels(digits):
    again, other = digit_views(), digit_views(seed=1)
    assert again.identity == digits.identity
    assert other.identity["sha256"] != digits.identity["sha256"]
    arrays = (values.numpy().tobytes() for part in (digits.train, digits.test) for values in part)
    assert digits.identity["sha256"] == hashlib.sha256(b"".join(arrays)).hexdigest()


def test_digit_views__without_noise_return_the_rows_asked_for(still, generator):
    rows = torch.tensor([5, 0, 5])
    for view in still.two_views(rows, generator):
        assert torch.equal(view, still.train.images[rows])


def test_digit_views__shift_by_every_amount_equally_often(generator):
    data = digit_views(shift=1, contrast=0.0, noise=0.0)
    views = torch.cat(data.two_views(torch.zeros(4500, dtype=torch.int64), generator))
    padded = np.pad(data.train.images[0, 0].numpy(), 1)
    moved = [padded[i : i + 8, j : j + 8] for i in range(3) for j in range(3)]
    counts = [(views[:, 0] == torch.from_numpy(image)).all((1, 2)).sum().item() for image in moved]
    assert sum(counts) == 9000
    # fails with probability 1e-3 for a fresh seed
    assert stats.chi2_test(counts, np.full(9, 1 / 9)).pvalue > 1e-3


def test_digit_views__views_are_independent_and_seeded(digits):
    rows = torch.arange(500)
    a, b = digits.two_views(rows, seeding.torch_generator(0))
    same, _ = digits.two_views(rows, seeding.torch_generator(0))
    assert torch.equal(a, same) and not torch.equal(a, b)
    data = digit_views(shift=0, contrast=0.0, noise=0.2)
    a, b = (view - data.train.images[rows] for view in data.two_views(rows, torch.Generator()))
    # 32,000 products of independent standard normals: mean 0 and variance 1, at 4.4 deviations
    assert abs((a * b).mean().item() / 0.04) < 4.4 / 32000**0.5
    assert abs(a.square().mean().item() / 0.04 - 1) < 4.4 * (2 / 32000) ** 0.5


@pytest.mark.parametrize("device", DEVICES)
def test_digit_views__live_on_the_device(device):
    data = digit_views(device=device)
    generator = seeding.torch_generator(0, device=device)
    views = data.two_views(torch.arange(4), generator)
    assert all(view.device.type == device and view.dtype == torch.float32 for view in views)
    assert data.device.type == device and data.test.labels.device.type == device


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"shift": -1}, ValueError, "shift must be at least 0"),
        ({"shift": 8}, ValueError, "shift must be one of"),
        ({"shift": 0.5}, TypeError, "shift must be an integer"),
        ({"noise": -0.1}, ValueError, "noise must not be negative"),
        ({"contrast": float("nan")}, ValueError, "contrast must be finite"),
        ({"seed": -1}, ValueError, "seed must be at least 0"),
    ],
)
def test_digit_views__refuse_bad_options(options, error, message):
    with pytest.raises(error, match=message):
        digit_views(**options)


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        ([0, 1], TypeError, "rows must be an int64 tensor"),
        (torch.tensor([0.0]), TypeError, "rows must be an int64 tensor"),
        (torch.tensor([[0]]), TypeError, r"got torch.int64 \(1, 1\)"),
        (torch.tensor([0, 1000]), ValueError, "rows must lie in 0 to 999, got 0 to 1000"),
        (torch.tensor([-1]), ValueError, "rows must lie in 0 to 999, got -1 to -1"),
    ],
)
def test_two_views__refuse_bad_rows(digits, rows, error, message):
    with pytest.raises(error, match=message):
        digits.two_views(rows, torch.Generator())


def test_two_views__refuse_what_is_no_generator(digits):
    with pytest.raises(TypeError, match=r"generator must be a torch\.Generator, got int"):
        digits.two_views(torch.arange(2), 0)


@given(
    n=st.integers(1, 7),
    columns=st.integers(1, 5),
    gap=st.integers(0, 2),
    channels=st.sampled_from([1, 3]),
)
def test_contact_sheet__every_image_is_in_its_place(n, columns, gap, channels):
    images = torch.rand(n, channels, 2, 3, generator=torch.Generator().manual_seed(n))
    sheet = contact_sheet(images, columns, gap=gap)
    seen = np.zeros(sheet.shape[:2], dtype=bool)
    for i, image in enumerate(images.expand(n, 3, 2, 3).numpy()):
        top, left = (i // columns) * (2 + gap), (i % columns) * (3 + gap)
        cell = np.s_[top : top + 2, left : left + 3]
        assert np.array_equal(sheet[cell], image.transpose(1, 2, 0))
        seen[cell] = True
    rows = -(-n // columns)
    assert sheet.shape == (rows * (2 + gap) - gap, columns * (3 + gap) - gap, 3)
    assert sheet.dtype == np.float32 and (sheet[~seen] == 1).all()


def test_contact_sheet__reads_bytes_and_clips_floats():
    grey = torch.tensor([0, 51], dtype=torch.uint8).view(2, 1, 1, 1)
    assert contact_sheet(grey, 2, gap=0)[0, :, 0].tolist() == pytest.approx([0.0, 0.2])
    wild = torch.tensor([-1.0, 3.0], requires_grad=True).view(2, 1, 1, 1)
    assert contact_sheet(wild, 2, gap=0)[0, :, 2].tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    ("images", "options", "error", "message"),
    [
        (torch.zeros(2, 2, 4, 4), {}, ValueError, "number of channels of images must be one of"),
        (torch.zeros(2, 4, 4), {}, ValueError, "images must have 4 dimensions"),
        (torch.zeros(0, 1, 4, 4), {}, ValueError, "at least 1 row"),
        (torch.full((1, 1, 2, 2), float("nan")), {}, ValueError, "4 NaN or infinite of 4"),
        (torch.zeros(1, 1, 4, 4), {"columns": 0}, ValueError, "columns must be at least 1"),
        (torch.zeros(1, 1, 4, 4), {"gap": -1}, ValueError, "gap must be at least 0"),
    ],
)
def test_contact_sheet__refuses_bad_input(images, options, error, message):
    with pytest.raises(error, match=message):
        contact_sheet(images, **{"columns": 2, **options})

"""Tests of the real signals: photographs, their crops and differences."""

import numpy as np
import pytest

from vcreg_theory import ica, seeding


@pytest.fixture(scope="module")
def images():
    return ica.photographs()


def test_photographs__are_two_grey_images(images):
    assert images.shape == (2, 427, 640) and images.dtype == np.float64
    # White is (255, 255, 255): luminance weights that do not add up to 1 would show here.
    assert images.min() >= 0 and 0.99 < images.max() <= 1 + 1e-12
    assert not np.allclose(images[0], images[1])
    np.testing.assert_array_equal(images, ica.photographs())


def test_crops__are_disjoint_squares_of_the_images():
    # Pixels numbered, so that each crop tells where it is from.
    numbered = np.arange(2 * 7 * 9, dtype=float).reshape(2, 7, 9)
    found = ica.crops(numbered, 3, 12, seeding.numpy_generator(0, "crops"))
    assert found.shape == (12, 3, 3) and len(np.unique(found)) == 12 * 9
    for crop in found:
        np.testing.assert_array_equal(np.diff(crop, axis=1), np.ones((3, 2)))
        np.testing.assert_array_equal(np.diff(crop, axis=0), np.full((2, 3), 9.0))


def test_crops__differ_between_draws_and_repeat_with_a_seed():
    numbered = np.arange(2 * 40 * 40, dtype=float).reshape(2, 40, 40)
    draw = [ica.crops(numbered, 4, 10, seeding.numpy_generator(k, "crops")) for k in (0, 0, 1)]
    np.testing.assert_array_equal(draw[0], draw[1])
    assert not np.array_equal(draw[0], draw[2])


def test_differences__are_the_formula_and_linear(images):
    few = images[:, 10:15, 20:26]
    found = ica.differences(few)
    expected = few[:, 1:, 1:] - few[:, 1:, :-1] - few[:, :-1, 1:] + few[:, :-1, :-1]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-15)  # rounding of four terms
    mixing = np.array([[0.6, 0.4], [0.3, 0.7]])
    mixed = np.einsum("ij,jhw->ihw", mixing, few)
    np.testing.assert_allclose(
        ica.differences(mixed), np.einsum("ij,jhw->ihw", mixing, found), rtol=0, atol=1e-14
    )


def test_as_sources__standardises_each_image(images):
    found = ica.as_sources(images[:, :20, :30])
    assert found.shape == (600, 2)
    np.testing.assert_allclose(found.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(found.std(0), 1, atol=1e-12)
    assert np.corrcoef(found[:, 1], images[1, :20, :30].ravel())[0, 1] == pytest.approx(1)


def test_signals__reject_bad_input(images):
    generator = seeding.numpy_generator(0, "bad")
    with pytest.raises(ValueError, match=r"images must have shape \(k, h, w\)"):
        ica.differences(images[0])
    with pytest.raises(ValueError, match="images must be finite"):
        ica.as_sources([[[1.0, np.nan]]])
    with pytest.raises(ValueError, match="images must vary"):
        ica.as_sources(np.ones((1, 2, 2)))
    with pytest.raises(ValueError, match="count must be at most 8"):
        ica.crops(np.zeros((2, 4, 4)), 2, 9, generator)
    with pytest.raises(ValueError, match="size must be at least 1"):
        ica.crops(images, 0, 1, generator)


def test_VCRegICA__separates_mixed_crops(images):
    tiles = ica.crops(images, 100, 2, seeding.numpy_generator(0, "mixed crops"))
    sources = ica.as_sources(ica.differences(tiles))
    mixing = np.array([[0.6, 0.4], [0.3, 0.7]])
    model = ica.VCRegICA(random_state=0).fit(sources @ mixing.T)
    # Differences of photographs are far from Gaussian: errors of 0.05 would be gains of 0.06.
    assert ica.amari_index(model.components_, mixing) < 0.05

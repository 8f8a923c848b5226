"""Tests of the simulated gains, against single steps and the formulas for their variance."""

import math

import numpy as np
import pytest
import torch

from vcreg_theory import ica, seeding
from vcreg_theory.ica import block_gains

DEVICES = ["cpu"] + ["cuda"] * torch.cuda.is_available()
SEPARATIONS = (3.0, 2.0)


def block(y):
    """The variable and the two tanh of the scores of `SEPARATIONS`, with derivatives."""
    features, slopes = [y], [torch.ones_like(y)]
    for a in SEPARATIONS:
        k = a * math.sqrt(1 + a * a)
        t = (k * y).tanh()
        features.append(t)
        slopes.append(k * (1 - t * t))
    return torch.stack(features, -1), torch.stack(slopes, -1)


def draw(r, n, stream):
    laws = [ica.bimodal(a) for a in SEPARATIONS]
    rng = seeding.numpy_generator(0, stream)
    return torch.tensor(np.stack([ica.sample_sources(laws, n, rng) for _ in range(r)]))


@pytest.mark.parametrize("orthogonal", [True, False])
def test_block_gains__is_a_fixed_point_of_pair_steps(orthogonal):
    samples = draw(3, 400, "fixed point")
    gains = block_gains(samples, block, orthogonal=orthogonal, tol=1e-11)
    for s, gain in zip(samples, gains, strict=True):
        y = (s - s.mean(0)) / s.std(0, correction=0) @ gain.T
        step = ica.pair_steps(y, *block(y), orthogonal=orthogonal)
        # The step at the end is smaller than the last one taken, but for rounding of J - 1.
        assert step.scoring.abs().max() < 1e-9 and step.gauss_newton.abs().max() < 1e-9
        torch.testing.assert_close(y.var(0, correction=0), torch.ones(2, dtype=y.dtype))
        correlation = float((y.T @ y)[0, 1]) / len(y)
        assert (abs(correlation) < 1e-12) == orthogonal


@pytest.mark.parametrize("orthogonal", [True, False])
def test_block_gains__have_the_variance_of_theory(orthogonal):
    n, repetitions = 1000, 600
    gains = block_gains(draw(repetitions, n, "variance"), block, orthogonal=orthogonal)
    measured = n * torch.stack([gains[:, 0, 1], gains[:, 1, 0]]).square().mean(1)
    formula = ica.ica_gain_variance if orthogonal else ica.cramer_rao_gain_variance
    first, second = (ica.bimodal(a).information for a in SEPARATIONS)
    expected = [formula(first, second), formula(second, first)]
    # Four relative deviations sqrt(2 / 600) of a variance are 0.23; terms of order 1/n are below.
    np.testing.assert_allclose(measured, expected, rtol=0.25)


def test_block_gains__free_ones_are_smaller_by_the_price_of_whitening():
    n, repetitions = 1000, 600
    samples = draw(repetitions, n, "price")
    square = [
        n * block_gains(samples, block, orthogonal=o)[:, 1, 0].square() for o in (True, False)
    ]
    difference = square[0] - square[1]
    first, second = (ica.bimodal(a).information for a in SEPARATIONS)
    a, b, s = second - 1, first - 1, first + second - 2  # row 1 holds the less informative source
    expected = a * b**3 / (s**2 * (first * second - 1))
    error = float(difference.std()) / repetitions**0.5
    assert abs(float(difference.mean()) - expected) < 4 * error + 0.05 * expected
    assert expected > 8 * error  # or the test could not fail


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_block_gains__keep_dtype_and_device(dtype, device):
    samples = draw(2, 300, "dtype").to(device, dtype)
    found = block_gains(samples, block)
    assert found.dtype == dtype and found.device == samples.device and found.shape == (2, 2, 2)
    expected = block_gains(samples.double().cpu(), block)
    # Single precision: averages of 300 products, and blocks of condition about 100.
    torch.testing.assert_close(found.double().cpu(), expected, rtol=0, atol=1e-3)


def test_block_gains__do_not_depend_on_units():
    samples = draw(2, 300, "units")
    scaled = 5 + samples * torch.tensor([3.0, -0.1], dtype=samples.dtype).abs()
    torch.testing.assert_close(
        block_gains(scaled, block), block_gains(samples, block), rtol=0, atol=1e-10
    )


def test_block_gains__reject_bad_input():
    samples = draw(2, 50, "bad")
    with pytest.raises(ValueError, match="samples must have 3 dim"):
        block_gains(samples[0], block)
    with pytest.raises(ValueError, match="block must return"):
        block_gains(samples, lambda y: (y, torch.ones_like(y)))
    with pytest.raises(ValueError, match="max_iter must be enough"):
        block_gains(samples, block, max_iter=1)
    with pytest.raises(ValueError, match="max_iter must be at least 1"):
        block_gains(samples, block, max_iter=0)
    with pytest.raises(ValueError, match="tol must be positive"):
        block_gains(samples, block, tol=0.0)


@pytest.mark.parametrize("orthogonal", [True, False])
def test_block_gains__steps_are_of_the_right_size(orthogonal):
    # Each step leaves a fraction of order n^-1/2 = 0.016 of the error before it, 0.05 at first.
    gains = block_gains(draw(5, 4000, "speed"), block, orthogonal=orthogonal, tol=1e-6, max_iter=5)
    assert gains.isfinite().all()

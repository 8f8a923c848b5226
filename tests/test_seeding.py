"""Tests of the seeds: streams are reproducible, independent of each other and of global state."""

import numpy as np
import pytest
import torch
from scipy import stats

from vcreg_theory import seeding


def test_streams__same_name_same_numbers():
    a = seeding.numpy_generator(7, "data").normal(size=5)
    assert np.array_equal(a, seeding.numpy_generator(7, "data").normal(size=5))
    b = torch.randn(5, generator=seeding.torch_generator(7, "data"))
    assert torch.equal(b, torch.randn(5, generator=seeding.torch_generator(7, "data")))


@pytest.mark.parametrize("other", [(7, "noise"), (8, "data")])
def test_streams__other_names_and_seeds_are_uncorrelated(other):
    a = seeding.numpy_generator(7, "data").normal(size=2000)
    b = seeding.numpy_generator(*other).normal(size=2000)
    assert stats.pearsonr(a, b).pvalue > 1e-3


def test_streams__global_generators_are_untouched():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    seeding.torch_generator(0, "x")
    with seeding.initialisation(0):
        torch.nn.Linear(3, 3)
    assert torch.equal(before, torch.get_rng_state())


def test_initialisation__seeds_no_device_but_the_cpu(monkeypatch):
    """The generators of other devices are not put back on leaving, so they must not be seeded."""
    seeded = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    with seeding.initialisation(0):
        torch.nn.Linear(3, 3)
    assert not seeded


@pytest.mark.parametrize(("seed", "error"), [(-1, ValueError), (0.5, TypeError), (True, TypeError)])
def test_streams__refuse_bad_seeds(seed, error):
    with pytest.raises(error, match="seed"):
        seeding.torch_generator(seed)

"""Settings and fixtures shared by all tests."""

import matplotlib
import pytest
import torch
from hypothesis import settings

from vcreg_theory import seeding

matplotlib.use("Agg")
torch.set_num_threads(1)
# Shared machines have slow moments, and a failing example must not depend on the run.
settings.register_profile("book", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("book")


@pytest.fixture
def generator() -> torch.Generator:
    """A torch generator with a fixed seed, one stream for each test that asks for it."""
    return seeding.torch_generator(0, "tests")

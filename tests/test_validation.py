"""Tests of the argument checks: accepted values come back, messages name what was wrong."""

import pytest
import torch

from vcreg_theory import validation


def test_tensor__returns_what_it_accepts():
    z = torch.zeros(2, 3)
    assert validation.tensor("z", z, ndim=(1, 2), min_rows=2) is z


@pytest.mark.parametrize(
    ("value", "options", "error", "message"),
    [
        ([1.0], {}, TypeError, "z must be a torch.Tensor, got list"),
        (torch.zeros(2, dtype=torch.int32), {}, TypeError, "float32 or float64, got torch.int32"),
        (torch.zeros(2).half(), {}, TypeError, "float32 or float64"),
        (torch.zeros(2), {"ndim": 2}, ValueError, r"2 dimensions, got shape \(2,\)"),
        (torch.zeros(2), {"ndim": (0, 2)}, ValueError, "0 or 2 dimensions"),
        (torch.zeros(1, 2), {"min_rows": 2}, ValueError, "at least 2 rows"),
        (torch.tensor([1.0, float("inf")]), {}, ValueError, "1 NaN or infinite of 2"),
    ],
)
def test_tensor__says_what_is_wrong(value, options, error, message):
    with pytest.raises(error, match=message):
        validation.tensor("z", value, **options)


@pytest.mark.parametrize(
    ("check", "value", "error", "message"),
    [
        (validation.real, "1", TypeError, "a must be a real number"),
        (validation.real, True, TypeError, "a must be a real number"),
        (validation.real, float("nan"), ValueError, "a must be finite"),
        (validation.positive, 0.0, ValueError, "a must be positive, got 0.0"),
        (validation.nonnegative, -1, ValueError, "a must not be negative, got -1"),
        (validation.probability, 1.0, ValueError, "strictly between 0 and 1"),
    ],
)
def test_scalars__say_what_is_wrong(check, value, error, message):
    with pytest.raises(error, match=message):
        check("a", value)


def test_scalars__return_what_they_accept():
    assert validation.positive("a", 2) == 2.0
    assert validation.nonnegative("a", 0) == 0.0
    assert validation.probability("a", 0.5) == 0.5
    assert validation.integer("a", 3, at_least=3) == 3
    assert validation.member("a", "x", ("x", "y")) == "x"


def test_integer_and_member__say_what_is_allowed():
    with pytest.raises(ValueError, match="a must be at least 2, got 1"):
        validation.integer("a", 1, at_least=2)
    with pytest.raises(TypeError, match=r"a must be an integer, got 1\.0"):
        validation.integer("a", 1.0, at_least=0)
    with pytest.raises(ValueError, match="a must be one of 'x', 'y', got 'z'"):
        validation.member("a", "z", ("x", "y"))


def test_same_shape__names_both():
    with pytest.raises(ValueError, match=r"za and zb must have the same shape, got \(2,\) and"):
        validation.same_shape("za", torch.zeros(2), "zb", torch.zeros(3))

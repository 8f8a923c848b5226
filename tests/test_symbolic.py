"""Tests of the identity checker: true identities hold, wrong ones are rejected by both routes."""

import numpy as np
import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st

from vcreg_theory import symbolic
from vcreg_theory.symbolic import random_rational, verify_identity

x, y = sp.symbols("x y", real=True)
s = sp.symbols("s", positive=True)
n = sp.symbols("n", integer=True, positive=True)

TRUE = [
    ((x + y) ** 2, x**2 + 2 * x * y + y**2),
    (sp.sin(x) ** 2 + sp.cos(x) ** 2, 1),
    (sp.sin(x) ** 2 + sp.cos(x) ** 2 - 1, 0),  # a difference: both sides vanish at the witnesses
    (sp.log(s**2), 2 * sp.log(s)),
    (sp.diff(sp.erf(x), x), 2 * sp.exp(-(x**2)) / sp.sqrt(sp.pi)),
    (sp.Integral(sp.exp(-(x**2)), (x, -sp.oo, sp.oo)), sp.sqrt(sp.pi)),
    (sp.Matrix([[x, 1], [0, y]]) ** 2, sp.Matrix([[x**2, x + y], [0, y**2]])),
    (sp.binomial(n, 2), n * (n - 1) / 2),
]
WRONG = [
    ((x + y) ** 2, x**2 + y**2),
    (sp.sin(x) ** 2 - sp.cos(x) ** 2, 1),
    (sp.sin(x) ** 2 + sp.cos(x) ** 2 - 1 + sp.Rational(1, 10**30) * x, 0),
    (sp.log(s**2), sp.log(s)),
    (sp.diff(sp.erf(x), x), sp.exp(-(x**2)) / sp.sqrt(sp.pi)),
    (sp.Integral(sp.exp(-(x**2)), (x, 0, sp.oo)), sp.sqrt(sp.pi)),
    (sp.Matrix([[x, 1], [0, y]]) ** 2, sp.Matrix([[x**2, x - y], [0, y**2]])),
    (sp.sqrt(x**2), x),  # true for positive numbers only
    (x, x + sp.Rational(1, 10**30)),
]


@pytest.mark.parametrize(("lhs", "rhs"), TRUE)
def test_verify_identity__accepts_true_identities(lhs, rhs):
    found = verify_identity(lhs, rhs)
    assert found.holds
    assert found.residual == 0


@pytest.mark.parametrize(("lhs", "rhs"), WRONG)
def test_verify_identity__rejects_wrong_identities(lhs, rhs):
    found = verify_identity(lhs, rhs)
    assert not found.holds
    assert found.residual != 0


@pytest.mark.parametrize(("lhs", "rhs"), WRONG[:-1])
def test_verify_identity__witnesses_reject_even_if_simplification_lies(lhs, rhs, monkeypatch):
    monkeypatch.setattr(symbolic, "_simplify", lambda expression: sp.S.Zero)
    assert not verify_identity(lhs, rhs, witnesses=12).holds


def test_verify_identity__simplification_rejects_even_if_witnesses_lie(monkeypatch):
    monkeypatch.setattr(symbolic, "_worst_witness", lambda *_: sp.S.Zero)
    assert not verify_identity(x, x + 1).holds


@given(st.lists(st.integers(-5, 5), min_size=2, max_size=5), st.integers(1, 4))
def test_verify_identity__one_wrong_coefficient_is_found(coefficients, shift):
    polynomial = sum(c * x**k for k, c in enumerate(coefficients))
    assert verify_identity(polynomial * (x + 1), sp.expand(polynomial * (x + 1))).holds
    assert not verify_identity(polynomial * (x + 1), polynomial * (x + 1) + shift * x).holds


def test_verify_identity__draws_again_at_singular_points():
    assert verify_identity((x**2 - 1) / (x - 1), x + 1, witnesses=10).holds


def test_verify_identity__is_deterministic():
    assert verify_identity(x, x + s, seed=3) == verify_identity(x, x + s, seed=3)


def test_verify_identity__refuses_bad_input():
    with pytest.raises(ValueError, match="one shape"):
        verify_identity(sp.zeros(2, 2), sp.zeros(3, 3))
    with pytest.raises(ValueError, match="witnesses must be at least 1"):
        verify_identity(x, x, witnesses=0)
    with pytest.raises(ValueError, match="declare the domain"):
        verify_identity(sp.Function("f")(x), sp.Function("f")(x))
    for truth in (x == x, sp.Eq(x, y)):  # the slip for which the comma between the sides is missed
        with pytest.raises(TypeError, match="expressions or matrices"):
            verify_identity(truth)


def test_random_rational__respects_assumptions():
    rng = np.random.default_rng(0)
    for _ in range(50):
        assert random_rational(s, rng) > 0
        assert random_rational(n, rng).is_Integer
        assert random_rational(sp.Symbol("m", negative=True), rng) < 0
    assert {random_rational(x, rng) > 0 for _ in range(50)} == {True, False}

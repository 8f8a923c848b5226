"""Exact checks of identities: simplification first, random exact rationals as a second witness.

A computer-algebra system may fail to simplify a true identity, and a user may state a false one.
Two independent routes settle both: the difference of the two sides must simplify to exactly zero,
and it must vanish at random rational points, evaluated without any simplification.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import sympy as sp

from . import seeding, validation

_DIGITS = 50


class Identity(NamedTuple):
    """Outcome of one identity check.

    Attributes
    ----------
    residual : Expr or Matrix
        The difference of the two sides after simplification.
    worst : Expr
        Largest difference of the two sides over the witnesses, relative to their terms.
    witnesses : int
        Number of random points used.
    holds : bool
        Whether the residual is exactly zero and every witness agrees.
    """

    residual: Any
    worst: Any
    witnesses: int
    holds: bool


def verify_identity(lhs: Any, rhs: Any = 0, *, witnesses: int = 6, seed: int = 0) -> Identity:
    r"""Check ``lhs = rhs`` by simplification and at random exact rational points.

    .. math:: \operatorname{simplify}(\ell - r) = 0
        \quad\text{and}\quad |\ell(q) - r(q)| \le 10^{-40} \sum_t |t(q)|
        \ \text{ for random } q \in \mathbb{Q}^m ,

    with :math:`t` the terms of both sides: their sum of sizes is above zero where a side that is
    written as a difference vanishes.

    Parameters
    ----------
    lhs, rhs : Expr or Matrix
        The two sides; matrices are compared entry by entry. Unevaluated derivatives, integrals and
        sums are evaluated.
    witnesses : int
        Number of random points, at least 1. Points respect the assumptions of the symbols
        (positive, negative, integer, real).
    seed : int
        Seed of the points.

    Returns
    -------
    Identity

    Raises
    ------
    ValueError
        If the shapes differ, or no random point can be evaluated to a finite number.
    TypeError
        If a side is a truth value or an equation.

    Notes
    -----
    The witnesses are evaluated from the two sides as given, with 50 digits, so an error in the
    simplifier cannot make a false identity pass. An identity that does not simplify does not hold
    for this function, even if every witness agrees: rewrite it.

    Examples
    --------
    >>> x = sp.symbols("x", positive=True)
    >>> verify_identity(sp.diff(sp.log(x) ** 2, x), 2 * sp.log(x) / x).holds
    True
    >>> verify_identity((x + 1) ** 2, x**2 + 1).residual
    2*x
    """
    validation.integer("witnesses", witnesses, at_least=1)
    left, right = _matrices(lhs, rhs)
    residual = (left - right).applyfunc(_simplify)
    worst = _worst_witness(left, right, witnesses, seed)
    exact = all(entry == 0 for entry in residual)
    shown = sp.S.Zero if exact else residual[0, 0] if residual.shape == (1, 1) else residual
    return Identity(shown, worst, witnesses, exact and bool(worst <= sp.Float(10) ** -40))


def _matrices(lhs: Any, rhs: Any) -> tuple[sp.Matrix, sp.Matrix]:
    left = _matrix(lhs)
    right = sp.zeros(*left.shape) if isinstance(rhs, int) and rhs == 0 else _matrix(rhs)
    if left.shape != right.shape:
        raise ValueError(f"lhs and rhs must have one shape, got {left.shape} and {right.shape}")
    return left, right


def _matrix(side: Any) -> sp.Matrix:
    value = sp.sympify(side)
    if not isinstance(value, sp.Expr | sp.MatrixBase):
        raise TypeError(f"lhs and rhs must be expressions or matrices, got {side!r}")
    matrix = value if isinstance(value, sp.MatrixBase) else sp.Matrix([[value]])
    return sp.Matrix(matrix).doit()


def _simplify(expression: sp.Expr) -> sp.Expr:
    """Return zero by the cheapest of several routes, else the simplest form found."""
    form = expression
    for route in (sp.expand, sp.cancel, sp.simplify, lambda e: sp.simplify(e.rewrite(sp.erf))):
        form = route(form)
        if form == 0:
            return sp.S.Zero
    return form


def _worst_witness(left: sp.Matrix, right: sp.Matrix, witnesses: int, seed: int) -> sp.Expr:
    symbols = sorted(left.free_symbols | right.free_symbols, key=str)
    rng = seeding.numpy_generator(seed, "symbolic")
    gaps: list[sp.Expr] = []
    for _ in range(20 * witnesses):  # a point on a singularity is drawn again
        point = {s: random_rational(s, rng) for s in symbols}
        gap = _relative_gap(left.subs(point), right.subs(point))
        if gap is not None:
            gaps.append(gap)
        if len(gaps) == witnesses:
            return max(gaps)
    raise ValueError(
        f"lhs and rhs could be evaluated at only {len(gaps)} of {witnesses} random points; "
        "declare the domain of their symbols (positive=True, real=True, ...)"
    )


def _relative_gap(left: Iterable[sp.Expr], right: Iterable[sp.Expr]) -> sp.Expr | None:
    gaps = [sp.S.Zero]
    for a, b in zip(left, right, strict=True):
        terms = [*sp.Add.make_args(a), *sp.Add.make_args(b)]
        # Each side is evaluated whole, so that SymPy raises its precision where terms cancel.
        gap = sp.Abs(sp.N(a, _DIGITS) - sp.N(b, _DIGITS))
        scale = sum(sp.Abs(sp.N(term, _DIGITS)) for term in terms)
        if not (gap.is_number and gap.is_finite and scale.is_number and scale.is_finite):
            return None
        gaps.append(gap / scale if scale != 0 else sp.S.Zero)
    return max(gaps)


def random_rational(symbol: sp.Symbol, rng: np.random.Generator) -> sp.Rational:
    """Return a random rational that the assumptions of `symbol` allow.

    Examples
    --------
    >>> random_rational(sp.Symbol("k", negative=True), np.random.default_rng(0)) < 0
    True
    """
    denominator = 1 if symbol.is_integer else int(rng.integers(7, 23))
    value = sp.Rational(int(rng.integers(1, 8 * denominator)), denominator)
    if symbol.is_negative or (not symbol.is_nonnegative and rng.random() < 0.5):
        value = -value
    return value

"""Check records: one test of one claim, which displays itself and raises if it fails.

A check states a criterion (`equals` within a `tolerance`, `at_most`, `at_least` or `between`) and a
`reason` for it, so that no tolerance stands without its derivation. A control applies the criterion
of the claim to a case whose hypothesis is broken and passes only if the criterion fails there.
"""

import html
import math
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .. import validation
from .registry import registry

MIME = "application/vnd.vcreg.check+json"
KINDS = ("symbolic", "numeric", "control", "trained")
_clock = time.perf_counter()


class CheckFailed(AssertionError):
    """A check of a registered claim did not come out as the claim says."""


@dataclass(frozen=True)
class Check:
    """The record of one check; the fields are those of the ledger."""

    claim: str
    kind: str
    statement: str
    measured: str
    expected: str
    criterion: str
    reason: str
    passed: bool
    seed: int | None
    n: int | None
    device: str
    seconds: float
    checkpoint: str | None = None

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {MIME: asdict(self), "text/html": self._html(), "text/plain": str(self)}

    def __str__(self) -> str:
        outcome = "passed" if self.passed else "FAILED"
        return (
            f"{outcome} | {self.claim} {self.kind} | {self.statement} | "
            f"measured {self.measured}, wanted {self.criterion}"
        )

    def _html(self) -> str:
        cells = (self.claim, self.kind, self.statement, self.measured, self.criterion)
        return "<p>" + " | ".join(html.escape(cell) for cell in cells) + "</p>"


def numeric(claim: str, statement: str, measured: Any, **criterion: Any) -> None:
    """Record a measurement beside the prediction of a claim.

    Parameters
    ----------
    claim : str
        Identifier of a registered claim.
    statement : str
        What is measured, in MyST with TeX.
    measured : float or array_like
        The measurement; every entry must meet the criterion. NaN and infinity never do.
    **criterion
        Exactly one of ``equals`` (with ``tolerance``), ``at_most``, ``at_least`` and ``between``;
        ``reason``, where the threshold comes from; optionally ``seed``, ``n`` and ``device``.

    Raises
    ------
    CheckFailed
        If the measurement does not meet the criterion.
    ValueError
        If the claim is unknown or the criterion is incomplete.

    Examples
    --------
    >>> numeric("B1.a", "residual", 1e-15, at_most=1e-10, reason="rounding")
    >>> numeric("B1.a", "residual", 1e-3, at_most=1e-10, reason="rounding")
    Traceback (most recent call last):
    ...
    vcreg_theory.claims.checks.CheckFailed: FAILED | B1.a numeric | residual | measured 0.001, ...
    """
    _record(build("numeric", claim, statement, measured, **criterion))


def control(claim: str, statement: str, measured: Any, **criterion: Any) -> None:
    """Record a case with a broken hypothesis, where the criterion of the claim must fail.

    The arguments are those of `numeric`. The control passes only if *every* entry of `measured` is
    finite and violates the criterion; `statement` says which hypothesis is broken.

    Examples
    --------
    >>> control("B1.a", "tanh instead of ReLU", 0.3, at_most=1e-10, reason="rounding")
    """
    _record(build("control", claim, statement, measured, **criterion))


def trained(
    claim: str, statement: str, measured: Any, *, checkpoint: str, **criterion: Any
) -> None:
    """Record evidence on a trained network, identified by the hash of its weights.

    The arguments are those of `numeric`, and `checkpoint`, the sha256 of the weights; ``device`` is
    the device that trained them.

    Examples
    --------
    >>> trained("B1.a", "residual", 0.0, checkpoint="0" * 64, at_most=1e-10, reason="rounding")
    """
    if not isinstance(checkpoint, str) or not re.fullmatch("[0-9a-f]{64}", checkpoint):
        raise ValueError(f"checkpoint must be a sha256 hex digest, got {checkpoint!r}")
    _record(build("trained", claim, statement, measured, checkpoint=checkpoint, **criterion))


def symbolic(claim: str, statement: str, lhs: Any, rhs: Any = 0, *, seed: int = 0) -> None:
    """Record that two expressions are identical, by simplification and at random rationals.

    Parameters
    ----------
    claim, statement : str
        As in `numeric`; the statement names the step of the derivation.
    lhs, rhs : Expr or Matrix
        The two sides, see `vcreg_theory.symbolic.verify_identity`.
    seed : int
        Seed of the random points.

    Raises
    ------
    CheckFailed
        If the residual is not exactly zero or a witness disagrees.

    Examples
    --------
    >>> import sympy as sp
    >>> x = sp.Symbol("x")
    >>> symbolic("B1.a", "step 1", (x + 1) ** 2, x**2 + 2 * x + 1)
    """
    from ..symbolic import verify_identity

    found = verify_identity(lhs, rhs, seed=seed)
    _record(
        Check(
            claim=_known(claim),
            kind="symbolic",
            statement=statement,
            measured=f"residual {found.residual}",
            expected="0",
            criterion=f"residual 0, and agreement at {found.witnesses} random rational points",
            reason="an identity is exact: no tolerance",
            passed=found.holds,
            seed=seed,
            n=found.witnesses,
            device="cpu",
            seconds=_lap(),
        )
    )


def build(
    kind: str,
    claim: str,
    statement: str,
    measured: Any,
    *,
    reason: str = "",
    seed: int | None = None,
    n: int | None = None,
    device: str = "cpu",
    checkpoint: str | None = None,
    **criterion: Any,
) -> Check:
    """Return the record of a measurement without displaying it or raising."""
    values = _numbers(measured)
    if values.size == 0:
        raise ValueError("measured must hold at least one number")
    if not reason.strip():
        raise ValueError("reason must say where the threshold comes from")
    phrase, expected, meets = _criterion(**criterion)
    finite = bool(np.isfinite(values).all())
    met = [bool(meets(v)) for v in values]
    is_control = kind == "control"
    return Check(
        claim=_known(claim),
        kind=validation.member("kind", kind, KINDS),
        statement=statement,
        measured=_show(values),
        expected=expected,
        criterion=f"to violate: {phrase}" if is_control else phrase,
        reason=reason,
        passed=finite and (not any(met) if is_control else all(met)),
        seed=seed,
        n=n,
        device=str(device),
        seconds=_lap(),
        checkpoint=checkpoint,
    )


def _numbers(measured: Any) -> np.ndarray:
    """Return numbers, arrays, tensors (with a graph or on a device) or lists of them as one row."""
    if isinstance(measured, list | tuple):
        return np.concatenate([_numbers(entry) for entry in measured] or [np.empty(0)])
    plain = measured.detach().cpu() if hasattr(measured, "detach") else measured
    return np.atleast_1d(np.asarray(plain, dtype=float)).ravel()


def _criterion(**criterion: Any) -> tuple[str, str, Callable[[float], bool]]:
    """Return the criterion in words, what it expects, and the predicate."""
    tolerance = criterion.pop("tolerance", None)
    if len(criterion) != 1 or not set(criterion) <= {"equals", "at_most", "at_least", "between"}:
        raise ValueError(
            "give exactly one of equals (with tolerance), at_most, at_least and between, "
            f"got {', '.join(criterion) or 'none'}"
        )
    ((name, value),) = criterion.items()
    if (name == "equals") != (tolerance is not None):
        raise ValueError("tolerance belongs to equals, and equals needs one")
    if name == "equals":
        target, width = validation.real(name, value), validation.nonnegative("tolerance", tolerance)
        phrase = f"{_number(target)} ± {_number(width)}"
        return phrase, _number(target), lambda v: abs(v - target) <= width
    if name == "between":
        low, high = (validation.real(name, bound) for bound in value)
        if low > high:
            raise ValueError(f"between must be (low, high), got {value!r}")
        return f"between {_number(low)} and {_number(high)}", "", lambda v: low <= v <= high
    bound = validation.real(name, value)
    if name == "at_most":
        return f"at most {_number(bound)}", _number(bound), lambda v: v <= bound
    return f"at least {_number(bound)}", _number(bound), lambda v: v >= bound


def _show(values: np.ndarray) -> str:
    if values.size == 1:
        return _number(values[0])
    return f"{_number(values.min())} to {_number(values.max())} ({values.size} values)"


def _number(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else str(value)


def _known(claim: str) -> str:
    if claim not in registry():
        raise ValueError(f"claim must be registered in claims.toml, got {claim!r}")
    return claim


def _lap() -> float:
    """Return the seconds since the last record: what this check cost."""
    global _clock
    now = time.perf_counter()
    elapsed, _clock = now - _clock, now
    return round(elapsed, 3)


def _record(check: Check) -> None:
    try:
        from IPython import get_ipython
        from IPython.display import display
    except ImportError:
        pass
    else:
        if get_ipython() is not None:
            display(check)
    if not check.passed:
        raise CheckFailed(str(check))

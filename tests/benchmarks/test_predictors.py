"""Cost of DirectCopy's predictor against DirectPred's, which needs an eigendecomposition.

Correlation in, predictor out, offset included; the update of the correlation is common to both and
left out. The goal holds for the default call, which checks its input at about three times the cost
of the copy itself, and so for that of a training step, ``check=False``. The floor reads the matrix
twice and writes it once.
"""

from collections.abc import Callable

import pytest
import torch

from vcreg_theory.dynamics import directcopy_predictor, directpred_predictor

ROUNDS, CALLS = 9, 20


def _repeat(function: Callable[[], object]) -> Callable[[], None]:
    """Call a function often enough for the clock, and from a warm cache as in training."""

    def many() -> None:
        for _ in range(CALLS):
            function()

    return many


@pytest.mark.parametrize("k", [128, 512, 1024, 2048])
def test_directcopy__against_directpred(found, cpu_rounds, generator, k):
    z = torch.randn(4 * k, k, generator=generator)
    corr, out = z.T @ z / len(z), torch.empty(k, k)

    def copy(check=True):
        return directcopy_predictor(corr, eps=0.1, check=check)

    def pred(check=True):
        return directpred_predictor(corr, eps=0.1, check=check)

    def floor():
        corr.sum()
        out.copy_(corr)

    functions = {
        "checked": _repeat(copy),
        "unchecked": _repeat(lambda: copy(False)),
        "floor": _repeat(floor),
        "pred": pred,
        "pred_unchecked": lambda: pred(False),
    }
    times = cpu_rounds(ROUNDS if k < 2048 else 3, functions)
    floors = {
        "floor": ("two reads and a write of the matrix", times["floor"]),
        "floor_goal": 0.25 if k == 2048 else None,
    }
    for kind, theirs in (("checked", "pred"), ("unchecked", "pred_unchecked")):
        name = f"directcopy_{k}" + ("" if kind == "checked" else "_unchecked")
        found.ratio(
            name,
            f"DirectCopy's predictor, {k} x {k}, {kind} input",
            peer="DirectPred's, ours",
            own=times[kind],
            theirs=[CALLS * seconds for seconds in times[theirs]],
            calls=CALLS,
            goal=80.0 if k == 512 else None,
            **(floors if kind == "checked" else {}),
        )

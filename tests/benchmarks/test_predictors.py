"""Cost of DirectCopy's predictor against DirectPred's, which needs an eigendecomposition.

Run with ``pytest tests/benchmarks/test_predictors.py --benchmark-enable -s``. Correlation in,
predictor out, offset included; the update of the correlation is common to both and left out.
The goal holds for the default call, which checks its input at about three times the cost of the
copy itself, and so for that of a training step, ``check=False``.
"""

from collections.abc import Callable

import measuring
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


@pytest.mark.parametrize("k", [128, 512, 1024])
def test_directcopy__against_directpred(benchmark, generator, k):
    z = torch.randn(4 * k, k, generator=generator)
    corr = z.T @ z / len(z)

    def copy(check=True):
        return directcopy_predictor(corr, eps=0.1, check=check)

    def pred(check=True):
        return directpred_predictor(corr, eps=0.1, check=check)

    benchmark.pedantic(copy, rounds=5, iterations=CALLS, warmup_rounds=1)
    checked, unchecked, spectral, spectral_unchecked = measuring.cpu_seconds(
        ROUNDS, _repeat(copy), _repeat(lambda: copy(False)), pred, lambda: pred(False)
    )
    info = {
        "copy_milliseconds": 1e3 * checked / CALLS,
        "copy_unchecked_milliseconds": 1e3 * unchecked / CALLS,
        "pred_milliseconds": 1e3 * spectral,
        "ratio": CALLS * spectral / checked,
        "ratio_unchecked": CALLS * spectral_unchecked / unchecked,
        "torch": torch.__version__,
    }
    benchmark.extra_info.update(info)
    if k == 512:
        assert info["ratio"] >= 80
        assert info["ratio_unchecked"] >= 80

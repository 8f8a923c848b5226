"""Accuracy, efficiency and time of VCRegICA, against scikit-learn's FastICA on the same mixtures.

`ica_accuracy` says how errors are measured and prints larger tables. FastICA runs to convergence.
Ratios of errors are, as those of times, the peer's over ours: above 1 where ours are smaller; where
the sample is small and sources are nearly Gaussian they fall to 0.9 and, with a source lost now and
then, lower.
"""

import re
import warnings

import ica_accuracy
import numpy as np
import picard
import pytest
from ica_accuracy import HELD_OUT, TUNED
from sklearn.decomposition import FastICA

from vcreg_theory import ica
from vcreg_theory.ica import VCRegICA

REPETITIONS, D, N = 15, 4, 5000
NO_WORSE = 1 / 1.1  # of the mean error
AT_MOST_1_3_TIMES = 1 / 1.3  # of the time


def _note(found, name: str, comparison: ica_accuracy.Comparison, goal: float) -> None:
    """Note a ratio of errors with its bootstrap interval; the last table's ratio is ours by its."""
    found.note(
        "ica_error_" + re.sub(r"\W", "_", name),
        title=f"mean error of ICA, {name} sources, {D} x {N}",
        peer="FastICA, converged",
        ratio=1 / comparison.ratio,
        least=1 / comparison.high,
        most=1 / comparison.low,
        rounds=REPETITIONS,
        own=comparison.ours,
        theirs=comparison.fastica,
        unit="Amari index",
        goal=goal,
    )


@pytest.mark.parametrize(("name", "most"), [("mixed", 0.70), ("uniform", 0.75), ("laplace", 0.90)])
def test_VCRegICA__accuracy(found, name, most):
    comparison, _ = ica_accuracy.compare(TUNED[name], D, N, REPETITIONS)
    _note(found, name, comparison, NO_WORSE)
    assert comparison.ratio <= most


def test_VCRegICA__accuracy_on_families_held_out(found):
    ratios = []
    for name, sources in HELD_OUT.items():
        comparison, _ = ica_accuracy.compare(sources, D, N, REPETITIONS)
        _note(found, name, comparison, NO_WORSE)
        ratios.append(comparison.ratio)
    assert float(np.mean(ratios)) <= 0.65
    assert max(ratios) <= 1.1


def test_VCRegICA__efficiency():
    """Mean squared gains, in units of the Cramer-Rao bound."""
    n, repetitions = 5000, 40

    def ratio(source: ica.Source) -> float:
        squares = []
        for k in range(repetitions):
            rng = np.random.default_rng([k, 3, n])
            s = ica.sample_sources([source] * 3, n, rng)
            mixing = ica.mixing_matrix(3, rng)
            model = VCRegICA(orthogonal=False, random_state=k).fit(s @ mixing.T)
            gains = model.components_ @ mixing
            gains = gains / np.abs(gains).max(1, keepdims=True)
            squares.append(((gains**2).sum() - 3) / 6)
        j = source.information
        return n * float(np.mean(squares)) / ica.cramer_rao_gain_variance(j, j)

    assert max(map(ratio, (ica.laplace(), ica.bimodal(), ica.student_t(5)))) <= 1.5


def _quietly(fit, x):
    def run():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return fit(x)

    return run


def _picard(x):
    return picard.picard(x.T, ortho=True, random_state=0, tol=1e-7)


@pytest.mark.parametrize("d", [8, 16, 32])
def test_VCRegICA__time(found, cpu_rounds, d):
    """The goal, 1.3 times FastICA's time, was set before the method that the accuracy needs."""
    n, rng = 10_000, np.random.default_rng(0)
    s = ica.sample_sources([TUNED["mixed"][i % 4] for i in range(d)], n, rng)
    x = s @ ica.mixing_matrix(d, rng).T
    fits = {
        "own": VCRegICA(random_state=0).fit,
        "fastica": FastICA(whiten="unit-variance", random_state=0).fit,
    }
    if d == 16:
        fits["picard"] = _picard
    times = cpu_rounds(5, {name: _quietly(fit, x) for name, fit in fits.items()})
    for name in list(fits)[1:]:
        found.ratio(
            f"ica_{d}x{n}_{name}",
            f"ICA of {d} mixed sources, {n} samples",
            peer={"fastica": "FastICA, default tolerance", "picard": "picard-O, 1e-7"}[name],
            own=times["own"],
            theirs=times[name],
            goal=AT_MOST_1_3_TIMES if name == "fastica" else None,
        )

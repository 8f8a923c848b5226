"""Accuracy, efficiency and time of VCRegICA, against scikit-learn's FastICA on the same mixtures.

Run with ``pytest tests/benchmarks/test_ica.py --benchmark-enable -s``; `ica_accuracy` says how
errors are measured and prints larger tables. FastICA runs to convergence. Ratios are of mean error,
below 1 where ours are smaller; where the sample is small and sources are nearly Gaussian they reach
1.1 and, with a source lost now and then, more.
"""

import warnings

import ica_accuracy
import measuring
import numpy as np
import pytest
from ica_accuracy import HELD_OUT, TUNED
from sklearn.decomposition import FastICA

from vcreg_theory import ica
from vcreg_theory.ica import VCRegICA

REPETITIONS, D, N = 15, 4, 5000


@pytest.mark.parametrize(("name", "most"), [("mixed", 0.70), ("uniform", 0.75), ("laplace", 0.90)])
def test_VCRegICA__accuracy(benchmark, name, most):
    found, _ = benchmark.pedantic(
        lambda: ica_accuracy.compare(TUNED[name], D, N, REPETITIONS), rounds=1
    )
    benchmark.extra_info.update(found._asdict())
    assert found.ratio <= most


def test_VCRegICA__accuracy_on_families_held_out(benchmark):
    def compare():
        return {
            name: ica_accuracy.compare(sources, D, N, REPETITIONS)[0]
            for name, sources in HELD_OUT.items()
        }

    found = benchmark.pedantic(compare, rounds=1)
    ratios = {name: comparison.ratio for name, comparison in found.items()}
    mean = float(np.mean(list(ratios.values())))
    rows = {name: comparison.row() for name, comparison in found.items()}
    benchmark.extra_info.update({**rows, "mean_ratio": mean, "largest_ratio": max(ratios.values())})
    assert mean <= 0.65
    assert max(ratios.values()) <= 1.1


def test_VCRegICA__efficiency(benchmark):
    """Mean squared gains, in units of the Cramer-Rao bound."""
    n, repetitions = 5000, 40

    def ratio(source: ica.Source, orthogonal: bool) -> float:
        squares = []
        for k in range(repetitions):
            rng = np.random.default_rng([k, 3, n])
            s = ica.sample_sources([source] * 3, n, rng)
            mixing = ica.mixing_matrix(3, rng)
            model = VCRegICA(orthogonal=orthogonal, random_state=k).fit(s @ mixing.T)
            gains = model.components_ @ mixing
            gains = gains / np.abs(gains).max(1, keepdims=True)
            squares.append(((gains**2).sum() - 3) / 6)
        j = source.information
        return n * float(np.mean(squares)) / ica.cramer_rao_gain_variance(j, j)

    laws = {"laplace": ica.laplace(), "bimodal": ica.bimodal(), "t5": ica.student_t(5)}
    found = benchmark.pedantic(
        lambda: {
            f"{name}_{kind}": ratio(law, kind == "rotation")
            for name, law in laws.items()
            for kind in ("free", "rotation")
        },
        rounds=1,
    )
    j = {name: law.information for name, law in laws.items()}
    for name, value in j.items():
        bound = ica.cramer_rao_gain_variance(value, value)
        found[f"{name}_rotation_predicted"] = ica.ica_gain_variance(value, value) / bound
    benchmark.extra_info.update(found)
    assert max(found[f"{name}_free"] for name in laws) <= 1.5


def test_VCRegICA__time(benchmark):
    d, n = 16, 20_000
    rng = np.random.default_rng(0)
    s = ica.sample_sources([TUNED["mixed"][i % 4] for i in range(d)], n, rng)
    x = s @ ica.mixing_matrix(d, rng).T

    def ours():
        return VCRegICA(random_state=0).fit(x)

    def peer():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return FastICA(whiten="unit-variance", random_state=0).fit(x)

    benchmark.pedantic(ours, rounds=3, warmup_rounds=1)
    times = measuring.named_cpu_seconds(7, ours=ours, fastica=peer)
    benchmark.extra_info.update({**times, "ratio": times["ours"] / times["fastica"]})
    assert times["ours"] <= 10 * times["fastica"]

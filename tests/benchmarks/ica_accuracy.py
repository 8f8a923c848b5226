"""Errors of VCRegICA and of scikit-learn's FastICA on the same mixtures.

``python tests/benchmarks/ica_accuracy.py --families tuned --sizes 4x5000 --repetitions 20`` prints
a table. FastICA runs with its default contrast (logcosh), to convergence: tolerance 1e-6 and up to
1000 iterations, so that it is not judged by where it stops. The error is `amari_index`, whose first
powers make a ratio of errors; `amari_distance` is about its square, so its ratios are smaller.
"""

import argparse
import time
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from sklearn.decomposition import FastICA

from vcreg_theory import ica
from vcreg_theory.ica import Source, VCRegICA

TUNED = {
    "uniform": [ica.uniform()],
    "laplace": [ica.laplace()],
    "mixed": [ica.uniform(), ica.laplace(), ica.bimodal(), ica.gamma(1)],
    "t5": [ica.student_t(5)],
}
# Fixed before its first run and not used to choose anything.
HELD_OUT = {
    "power 1.2": [ica.generalized_gaussian(1.2)],
    "power 3": [ica.generalized_gaussian(3)],
    "t4": [ica.student_t(4)],
    "gamma 0.5": [ica.gamma(0.5)],
    "sparse 0.05": [ica.sparse(0.05)],
    "8 levels": [ica.levels(8)],
    "needle": [ica.gaussian_mixture([0, 0], [0.1, 2], [0.5, 0.5])],
    "outliers": [ica.gaussian_mixture([0, 6], [1, 1], [0.95, 0.05])],
    "far modes": [ica.gaussian_mixture([-4, 0, 5], [1, 0.5, 1], [1, 2, 1])],
}
# Held out at first, too; two of them changed the method. The logistic law at n = 1000 showed that
# scores of near-Gaussian sources need a free tanh, "sparse 0.15" that coarse features at quantiles
# fail where most samples are equal.
SEEN = {
    "gumbel": [ica.gumbel()],
    "gamma 3": [ica.gamma(3)],
    "power 4": [ica.generalized_gaussian(4)],
    "power 0.7": [ica.generalized_gaussian(0.7)],
    "triangular": [ica.triangular()],
    "arcsine": [ica.arcsine()],
    "hyperbolic secant": [ica.hyperbolic_secant()],
    "sparse 0.3": [ica.sparse(0.3)],
    "4 levels": [ica.levels(4)],
    "skewed mixture": [ica.gaussian_mixture([-0.5, 2.0], [1.0, 0.5], [0.8, 0.2])],
    "logistic": [ica.logistic()],
    "power 1.5": [ica.generalized_gaussian(1.5)],
    "power 8": [ica.generalized_gaussian(8)],
    "t8": [ica.student_t(8)],
    "gamma 2": [ica.gamma(2)],
    "two scales": [ica.gaussian_mixture([0, 0], [1, 3], [0.8, 0.2])],
    "uneven bimodal": [ica.gaussian_mixture([-1, 1.5], [0.4, 0.8], [0.6, 0.4])],
    "trimodal": [ica.gaussian_mixture([-3, 0, 3], [1, 1, 1], [1, 1, 1])],
    "sparse 0.15": [ica.sparse(0.15)],
    "3 levels": [ica.levels(3)],
}
FAMILIES = {"tuned": TUNED, "held_out": HELD_OUT, "seen": SEEN}
Errors = np.ndarray  # (repetitions, 2): ours, FastICA's


class Comparison(NamedTuple):
    """Mean errors, their ratio with a 95 % interval, largest errors, and CPU seconds."""

    ours: float
    fastica: float
    ratio: float
    low: float
    high: float
    worst: tuple[float, float]
    seconds: tuple[float, float]

    def row(self) -> str:
        """Return the figures on one line."""
        return (
            f"{self.ours:.4f} {self.fastica:.4f}"
            f"  {self.ratio:.2f} [{self.low:.2f}, {self.high:.2f}]"
            f"  worst {self.worst[0]:.3f} {self.worst[1]:.3f}"
            f"  ms {1e3 * self.seconds[0]:.0f} {1e3 * self.seconds[1]:.0f}"
        )


def fit_fastica(x: np.ndarray, seed: int) -> np.ndarray:
    """Return the unmixing matrix of FastICA, converged if it can."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = FastICA(whiten="unit-variance", random_state=seed, tol=1e-6, max_iter=1000)
        return model.fit(x).components_


def fit_ours(x: np.ndarray, seed: int) -> np.ndarray:
    """Return the unmixing matrix of VCRegICA with its defaults."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return VCRegICA(random_state=seed).fit(x).components_


def compare(
    sources: Sequence[Source], d: int, n: int, repetitions: int, *, seed: int = 0
) -> tuple[Comparison, Errors]:
    """Run both methods on the same mixtures of d sources, taken in turn."""
    errors, seconds = [], []
    for repetition in range(repetitions):
        rng = np.random.default_rng([seed, repetition, d, n])
        s = ica.sample_sources([sources[i % len(sources)] for i in range(d)], n, rng)
        mixing = ica.mixing_matrix(d, rng)
        x = s @ mixing.T
        for method in (fit_ours, fit_fastica):
            start = time.process_time()
            unmixing = method(x, repetition)
            seconds.append(time.process_time() - start)
            errors.append(ica.amari_index(unmixing, mixing))
    pairs, times = np.reshape(errors, (-1, 2)), np.reshape(seconds, (-1, 2))
    return summarise(pairs, times), pairs


def summarise(errors: Errors, seconds: np.ndarray) -> Comparison:
    """Return means and the ratio of means, with a bootstrap interval over repetitions."""
    rng = np.random.default_rng(0)
    rows = rng.integers(len(errors), size=(4000, len(errors)))
    means = errors[rows].mean(1)
    low, high = np.quantile(means[:, 0] / means[:, 1], [0.025, 0.975])
    ours, theirs = errors.mean(0)
    worst, spent = errors.max(0), np.median(seconds, 0)
    figures = map(float, (ours, theirs, ours / theirs, low, high))
    return Comparison(*figures, tuple(worst.tolist()), tuple(spent.tolist()))


def main() -> None:
    """Print a table of families and sizes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--families", choices=FAMILIES, default="tuned")
    parser.add_argument("--sizes", nargs="+", default=["4x5000"], metavar="DxN")
    parser.add_argument("--repetitions", type=int, default=10)
    given = parser.parse_args()
    for size in given.sizes:
        d, n = map(int, size.split("x"))
        ratios = []
        for name, sources in FAMILIES[given.families].items():
            found, _ = compare(sources, d, n, given.repetitions)
            ratios.append(found.ratio)
            print(f"{name:18s} d={d:<3d} n={n:<6d} {found.row()}", flush=True)
        print(f"mean ratio {np.mean(ratios):.3f}, largest {max(ratios):.3f}")


if __name__ == "__main__":
    main()

"""One description of a representation: entropies, spectrum, and dependence of its features.

Collapsed representations are described too: what has no finite value is None, with its reason.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.linalg import LinAlgError  # type: ignore[attr-defined]  # public, not re-exported

from . import entropy, independence, kernels, seeding, validation

SHRINKAGE = 1e-3  # added to every variance of the log-determinant, mean variance 1
COMPONENT_SHARE = 1 / 8  # variance of a component of the pairwise bounds, total variance 1
NEIGHBOUR = 3
SPECTRUM = 64  # eigenvalues kept
TOLERANCE = 1e-9  # error of an HSIC
JOINT = 8  # features of the joint statistics whose kernels do not saturate


def describe(
    z: Tensor, *, max_samples: int = 1000, max_features: int = 64, seed: int = 0
) -> dict[str, Any]:
    r"""Describe a representation by numbers that can be compared across encoders.

    Parameters
    ----------
    z : Tensor, shape (n, d)
        Features, n at least 2; float32 or float64 (half precision is cast).
    max_samples : int
        Rows that are used, at least 4; a random subset if there are more.
    max_features : int
        Features that statistics of pairs and more are taken of, at least 3; if more vary, those at
        equal steps in the order of the columns.
    seed : int
        Seed of the subset of rows.

    Returns
    -------
    dict
        Plain numbers, lists and None, as JSON holds them.

        Of all features, centred and rescaled by *one* factor to total variance d, in nats:

        * ``logdet``: log-determinant entropy with 0.001 added to every variance;
        * ``pairdist_lower``, ``pairdist_upper``: bounds of the entropy of equal Gaussians at the
          samples, each of variance d/8 in every direction, an eighth of the total variance;
        * ``knn_entropy``: nearest-neighbour entropy, k = 3;
        * ``effective_rank``: exponential of the entropy of the normalised spectrum;
        * ``spectrum``: the first 64 eigenvalues of the covariance, largest first.

        Of the features that vary, each at variance one:

        * ``mean_squared_correlation``: over all pairs;
        * ``mean_hsic``, ``mean_hsic_normalised``: unbiased HSIC over pairs of at most
          `max_features`, plain and divided by the root of the two self-HSICs;
        * ``mean_hsic_whitened``, ``mean_hsic_normalised_whitened``: the same of these features
          after ZCA whitening, which leaves dependence beyond correlation;
        * ``dhsic``, ``dhsic_excess``: joint HSIC of these features, which tends to 1/n for many
          features whatever their law, and its excess over its mean under permutations;
        * ``dhsic8``, ``dhsic8_excess``: the same of at most 8 of these features, at equal steps;
        * ``lancaster``: three-way interaction, mean over all triples of these features.

        And ``samples``, ``features``, ``live_features`` (those that vary), ``hsic_features``
        (those used for pairs), ``reasons``: a text for each entry that is None.

    Raises
    ------
    TypeError, ValueError
        If `z` is not a finite matrix with 2 rows and a column, or an option is out of range.

    Notes
    -----
    Claims A5, B6 and B9. A feature counts as constant if its standard deviation is at most 8
    roundings of its largest entry, and is then exactly constant for all entries. Kernels are
    Gaussian, of bandwidth one: the standard deviation of the feature. The median distance would
    be zero for a rectified feature that is mostly off. All computations are in float64.

    None appears where all features are constant (all entries), fewer than two or three vary
    (pairs, triples), four rows coincide (``knn_entropy``), the features used for pairs have a
    singular covariance (whitened entries), fewer than two of them have a positive self-HSIC
    (normalised entries) or n < 4 (HSIC, ``knn_entropy``).

    Examples
    --------
    >>> z = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
    >>> found = describe(torch.cat([z, torch.ones(500, 1)], 1))
    >>> found["live_features"], round(found["effective_rank"]), found["reasons"]
    (3, 3, {})
    >>> describe(torch.ones(10, 2))["reasons"]["logdet"]
    'all features are constant'
    """
    z = entropy.codes.codes("z", z).detach()
    max_samples = validation.integer("max_samples", max_samples, at_least=4)
    max_features = validation.integer("max_features", max_features, at_least=3)
    x, live = _centred(z[_subset(len(z), max_samples, seed).to(z.device)])
    report = _Report()
    report.values |= {
        "samples": len(x),
        "features": x.shape[1],
        "live_features": int(live.sum()),
        "hsic_features": min(int(live.sum()), max_features),
    }
    with torch.no_grad(), torch.autocast(z.device.type, enabled=False):
        _describe_shape(report, x)
        _describe_dependence(report, x[:, live], max_features)
    return {**report.values, "reasons": report.reasons}


class _Report:
    """Entries of the description, each a number or None with a reason."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.reasons: dict[str, str] = {}

    def add(self, names: str | Sequence[str], statistic: Callable[[], Any]) -> None:
        """Enter the values of a statistic, or None where it refuses the features."""
        names = [names] if isinstance(names, str) else names
        try:
            found = statistic()
        except (ValueError, LinAlgError) as error:
            return self.refuse(names, str(error))
        for name, value in zip(names, found if len(names) > 1 else [found], strict=True):
            if math.isfinite(float(value)):
                self.values[name] = float(value)
            else:
                self.refuse([name], f"the value is {float(value)}")

    def refuse(self, names: Sequence[str], reason: str) -> None:
        """Enter None for all these, for one reason."""
        self.values |= dict.fromkeys(names)
        self.reasons |= dict.fromkeys(names, reason)


def _subset(n: int, size: int, seed: int) -> Tensor:
    """Return `size` of n row numbers, in order; all of them if there are no more."""
    if n <= size:
        return torch.arange(n)
    generator = seeding.torch_generator(seed, "diagnostics")
    return torch.randperm(n, generator=generator)[:size].sort().values


def _centred(z: Tensor) -> tuple[Tensor, Tensor]:
    """Return the features centred in float64, constant ones exactly zero, and which vary."""
    x = entropy.codes.centred(z)
    rounding = 8 * torch.finfo(z.dtype).eps * z.abs().amax(0).double()
    live = x.std(0) > rounding
    return x * live, live


def _describe_shape(report: _Report, x: Tensor) -> None:
    """Enter what depends on the position of the samples: entropies and spectrum."""
    pair = ("pairdist_lower", "pairdist_upper")
    d = x.shape[1]
    if not bool(x.any()):
        names = ("logdet", *pair, "knn_entropy", "effective_rank", "spectrum")
        return report.refuse(names, "all features are constant")
    z = entropy.standardise(x)
    report.add("logdet", lambda: entropy.logdet_entropy(z, eps=SHRINKAGE))
    report.add(pair, lambda: entropy.isotropic_pairwise_entropy(z, COMPONENT_SHARE * d))
    report.add("knn_entropy", lambda: entropy.knn_entropy(z, k=NEIGHBOUR))
    report.add("effective_rank", lambda: entropy.effective_rank(z))
    values = torch.linalg.svdvals(z).square() / (len(z) - 1)
    report.values["spectrum"] = values[:SPECTRUM].tolist()


def _describe_dependence(report: _Report, x: Tensor, max_features: int) -> None:
    """Enter what ties features that vary to each other."""
    u = x / x.square().mean(0).sqrt() * ((len(x) - 1) / len(x)) ** 0.5
    few, joint = _spread(u, max_features), _spread(u, JOINT)
    report.add("mean_squared_correlation", lambda: _mean_squared_correlation(_at_least(u, 2)))
    report.add(("mean_hsic", "mean_hsic_normalised"), lambda: _mean_hsic(_at_least(few, 2)))
    report.add(
        ("mean_hsic_whitened", "mean_hsic_normalised_whitened"),
        lambda: _mean_hsic(entropy.whiten(_at_least(few, 2))),
    )
    report.add(("dhsic", "dhsic_excess"), lambda: _joint_hsic(_at_least(few, 2)))
    report.add((f"dhsic{JOINT}", f"dhsic{JOINT}_excess"), lambda: _joint_hsic(_at_least(joint, 2)))
    report.add(
        "lancaster", lambda: independence.lancaster_interaction(_at_least(few, 3), bandwidth=1.0)
    )


def _spread(u: Tensor, count: int) -> Tensor:
    """Return `count` columns at equal steps; all of them if there are no more."""
    size = u.shape[1]
    return u if size <= count else u[:, torch.arange(count, device=u.device) * size // count]


def _at_least(u: Tensor, count: int) -> Tensor:
    """Return the features unless fewer than `count` vary."""
    if u.shape[1] < count:
        raise ValueError(f"{count} features must vary, but {u.shape[1]} do")
    return u


def _mean_squared_correlation(u: Tensor) -> Tensor:
    """Return the mean over pairs of different features of variance one."""
    return _mean_off_diagonal((u.T @ u / (len(u) - 1)).square())


def _mean_hsic(u: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean unbiased HSIC over pairs, and that of its normalised form."""
    matrix = independence.pairwise_hsic(u, bandwidth=1.0, estimator="unbiased", tol=TOLERANCE)
    # The unbiased self-HSIC of a feature that is off in all samples but one is zero; of one that
    # is on in m of n samples it is of order (m/n)^2, above 1e-6 for 1000 samples.
    seen = matrix.diagonal() > 10 * TOLERANCE
    scale = matrix.diagonal()[seen].rsqrt()
    normalised = _mean_off_diagonal(matrix[seen][:, seen] * scale * scale[:, None])
    return _mean_off_diagonal(matrix), normalised


def _joint_hsic(u: Tensor) -> tuple[Tensor, Tensor]:
    """Return dHSIC and its excess over the mean under permutations, kernels of bandwidth one.

    These are `independence.dhsic` and `dhsic_excess`, with the product of the kernels as one kernel
    and the row sums of each by cosine series (error 1e-12 an entry): for 64 features 20 times
    faster.
    """
    n = len(u)
    joint = torch.cdist(u, u).square_().div_(-2).exp_().mean()
    rows = torch.stack([_row_means(column) for column in u.T])
    totals = rows.mean(1)
    value = joint + totals.prod() - 2 * rows.prod(0).mean()
    apart = ((n * totals - 1) / (n - 1)).prod()
    return value, value - 1 / n - (n - 1) / n * apart + totals.prod()


def _row_means(column: Tensor) -> Tensor:
    """Return the mean of each row of the Gram matrix of one feature."""
    features = kernels.fourier_features_1d(column, 1.0, tol=1e-12)
    return features @ features.mean(0)


def _mean_off_diagonal(matrix: Tensor) -> Tensor:
    """Return the mean entry off the diagonal; NaN where there is none."""
    size = len(matrix)
    return (matrix.sum() - matrix.diagonal().sum()) / (size * (size - 1))

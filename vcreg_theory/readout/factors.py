"""How much of the factors behind the images can be read from features, by ridge regression."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .. import seeding, validation
from .scaling import FOLDS, check_features, held_out, standardise

PENALTIES = tuple(10.0**power for power in range(-8, 2))
LANDMARKS = 512


def factor_r2(
    train_features: Tensor,
    train_factors: Tensor,
    test_features: Tensor,
    test_factors: Tensor,
    *,
    kernel: str = "linear",
    penalties: Sequence[float] = PENALTIES,
) -> Tensor:
    r"""Return the share of each factor's variance that a regression on features explains.

    .. math:: R^2_k = 1 - \frac{\sum_i (u_{ik} - \hat u_{ik})^2}{\sum_i (u_{ik} - \bar u_k)^2}
              \quad \text{over test images}

    The regression is ridge regression with a free intercept on standardised features, or on
    Gaussian kernel features of them, which reads out curved functions of the features too.

    Parameters
    ----------
    train_features, test_features : Tensor, shape (n, d) and (m, d)
        Frozen features, n at least 5 and m at least 2.
    train_factors, test_factors : Tensor, shape (n, f) and (m, f)
        The factors, or functions of them such as `cosine_targets`.
    kernel : {"linear", "gaussian"}
        "gaussian" is kernel ridge regression, of bandwidth the median distance between
        standardised features, in the span of the kernels at 512 training features (Nystroem);
        exact where there are no more.
    penalties : sequence of float
        Ridge penalties to choose from, positive, relative to features of variance one. Each factor
        takes the one of the smallest squared error on a fifth of the training images.

    Returns
    -------
    Tensor, shape (f,)
        At most 1; 0 for a regression no better than the test mean, below 0 for a worse one.
        In the dtype and on the device of `train_features`.

    Raises
    ------
    TypeError, ValueError
        If shapes or dtypes do not fit, an entry is not finite, a factor is constant on the test
        images, or an option is out of range.

    Notes
    -----
    No randomness: rows held out and landmarks come from a fixed shuffle. One eigendecomposition
    serves all penalties and all factors.

    Examples
    --------
    >>> u = torch.linspace(0, 1, 41)[:, None]
    >>> factors = torch.cat([u, (u - 0.5).square()], 1)
    >>> factor_r2(u, factors, u, factors).round(decimals=2)
    tensor([1., 0.])
    >>> factor_r2(u, factors, u, factors, kernel="gaussian").round(decimals=2)
    tensor([1., 1.])
    """
    validation.member("kernel", kernel, ("linear", "gaussian"))
    grid = [validation.positive("penalties", value) for value in penalties]
    if not grid:
        raise ValueError("penalties must hold at least 1 number, got an empty sequence")
    pair = _features(train_features, test_features)
    train, test = _factors(pair[0], train_factors, test_factors, pair[1])
    variance = _varying(test)
    scaling = standardise(pair[0])
    h, h_test = (scaling(part) for part in pair)
    if kernel == "gaussian":
        landmarks = h[_shuffle(len(h)).to(h.device)[:LANDMARKS]]
        h, h_test = _kernel_features(landmarks, h, h_test)
    penalty = _choose(h, train, torch.tensor(grid, dtype=h.dtype, device=h.device))
    residual = test - _Ridge(h, train).predict(h_test, penalty)
    return (1 - residual.square().mean(0) / variance).to(pair[0].dtype)


def cosine_targets(factors: Tensor, orders: Sequence[int] = (1, 2)) -> Tensor:
    r"""Return cosines of factors in [0, 1]: the functions that noise with mirrors respects.

    .. math:: u_k \mapsto \cos(\pi j u_k), \qquad j \in \text{orders}

    Parameters
    ----------
    factors : Tensor, shape (n, f)
        Factors in [0, 1].
    orders : sequence of int
        The orders j, at least 1.

    Returns
    -------
    Tensor, shape (n, f * len(orders))
        All orders of the first factor, then of the second, and so on; ``.unflatten(1, (f, -1))``
        of a row of results separates them.

    Raises
    ------
    TypeError, ValueError
        If the factors are not finite and in [0, 1], or an order is no integer of at least 1.

    Notes
    -----
    If the factor is uniform, these are uncorrelated with each other, with variance 1/2.

    Examples
    --------
    >>> cosine_targets(torch.tensor([[0.0, 0.5], [1.0, 0.25]]))
    tensor([[ 1.0000e+00,  1.0000e+00, -4.3711e-08, -1.0000e+00],
            [-1.0000e+00,  1.0000e+00,  7.0711e-01, -4.3711e-08]])
    """
    factors = check_features("factors", factors)
    low, high = (float(value) for value in factors.aminmax())
    if low < 0 or high > 1:
        raise ValueError(f"factors must lie in [0, 1], got {low:g} to {high:g}")
    multiples = [validation.integer("orders", order, at_least=1) for order in orders]
    if not multiples:
        raise ValueError("orders must hold at least 1 integer, got an empty sequence")
    angles = math.pi * torch.tensor(multiples, dtype=factors.dtype, device=factors.device)
    return (factors[:, :, None] * angles).cos().flatten(1)


class _Ridge:
    """Ridge regression on centred features, solved for every penalty at once."""

    def __init__(self, features: Tensor, targets: Tensor):
        n = len(features)
        self.mean, self.intercept = features.mean(0), targets.mean(0)
        centred = features - self.mean
        values, self.vectors = torch.linalg.eigh(centred.T @ centred / n)
        self.values = values.clamp(min=0)
        self.products = self.vectors.T @ (centred.T @ (targets - self.intercept)) / n

    def predict(self, features: Tensor, penalty: Tensor) -> Tensor:
        """Return predictions; `penalty` is one number, or one for each target."""
        weight = self.products / (self.values[:, None] + penalty)
        found: Tensor = (features - self.mean) @ (self.vectors @ weight) + self.intercept
        return found


def _choose(features: Tensor, targets: Tensor, grid: Tensor) -> Tensor:
    """Return the penalty of each target with the smallest squared error on held-out rows."""
    mask = held_out(torch.zeros(len(features), dtype=torch.int64, device=features.device))
    ridge = _Ridge(features[~mask], targets[~mask])
    errors = [
        (ridge.predict(features[mask], penalty) - targets[mask]).square().mean(0)
        for penalty in grid
    ]
    return grid[torch.stack(errors).argmin(0)]


def _kernel_features(landmarks: Tensor, *features: Tensor) -> list[Tensor]:
    """Return features whose inner products are the Gaussian kernel, projected on landmarks."""
    distances = torch.pdist(landmarks)
    bandwidth = distances.median()
    if float(bandwidth) == 0:
        bandwidth = torch.ones_like(bandwidth)  # most features coincide: any width tells as much

    def kernel(rows: Tensor) -> Tensor:
        return (torch.cdist(rows, landmarks) / bandwidth).square().div_(-2).exp_()

    values, vectors = torch.linalg.eigh(kernel(landmarks))
    kept = values > len(values) * torch.finfo(values.dtype).eps * values[-1]
    whiten = vectors[:, kept] * values[kept].rsqrt()
    return [kernel(rows) @ whiten for rows in features]


def _shuffle(n: int) -> Tensor:
    return torch.randperm(n, generator=seeding.torch_generator(0, "readout landmarks"))


def _features(train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    """Return both feature matrices, checked."""
    train = check_features("train_features", train)
    if len(train) < FOLDS:
        raise ValueError(
            f"train_features must have at least {FOLDS} rows, got shape {tuple(train.shape)}"
        )
    return train, check_features("test_features", test, columns=train.shape[1])


def _factors(
    train_features: Tensor, train: Tensor, test: Tensor, test_features: Tensor
) -> tuple[Tensor, Tensor]:
    """Return both factor matrices in float64 on the device of the features, checked."""
    train = check_features("train_factors", train)
    test = check_features("test_factors", test, columns=train.shape[1])
    for name, factors, rows in (
        ("train_factors", train, len(train_features)),
        ("test_factors", test, len(test_features)),
    ):
        if len(factors) != rows:
            raise ValueError(
                f"{name} must have {rows} rows, one a row of features, "
                f"got shape {tuple(factors.shape)}"
            )
    return train.to(train_features.device).double(), test.to(train_features.device).double()


def _varying(factors: Tensor) -> Tensor:
    """Return the variance of each factor, none of which may be constant."""
    variance = factors.var(0, correction=0)
    constant = torch.nonzero(factors.amax(0) == factors.amin(0)).flatten().tolist()
    if constant:
        raise ValueError(f"test_factors must vary, but columns {constant} are constant")
    return variance

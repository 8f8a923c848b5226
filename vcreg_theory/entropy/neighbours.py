"""The nearest-neighbour estimator of entropy."""

import math
from collections.abc import Callable
from typing import cast

import torch
from scipy import special
from scipy.spatial import KDTree
from torch import Tensor

from .. import validation
from .._types import IndexArray
from .codes import centred, codes
from .distances import exact_squares, product_squares, rounding

# Pairs that one block of rows holds at once: 4 MiB an array.
_PAIRS_AT_ONCE = 2**19
# Relative error of a squared distance that is left alone: half of it enters the mean logarithm.
_SQUARE_ERROR = 1e-12
# Most dimensions in which a tree, which only the CPU has, is faster than all pairs.
_TREE_DIMENSIONS = 8


def knn_entropy(z: Tensor, k: int = 3) -> Tensor:
    r"""Return the entropy estimate of Kozachenko and Leonenko.

    .. math:: \hat H = \psi(n) - \psi(k) + \log V_d + \frac dn \sum_i \log \rho_k(i), \qquad
        V_d = \frac{\pi^{d/2}}{\Gamma(d/2 + 1)}

    with :math:`\rho_k(i)` the Euclidean distance of sample i to its k-th nearest other sample and
    :math:`\psi` the digamma function.

    Parameters
    ----------
    z : Tensor, shape (n, d)
        Samples, more than `k` of them.
    k : int
        Neighbour whose distance is used, at least 1. A larger one lowers the variance and raises
        the bias.

    Returns
    -------
    Tensor, scalar
        In nats, differentiable: each sample repels its k-th neighbour.

    Raises
    ------
    ValueError
        If `k` is not below n, or some samples coincide with their k-th neighbour, so that the
        estimate is minus infinity; the message says how many.

    Notes
    -----
    Claims B6.c and B6.e. Kozachenko and Leonenko (1987), Sample estimate of the entropy of a
    random vector. The estimate takes the density as constant over the ball to the neighbour. It is
    consistent as n grows, biased in high dimension, and biased near edges of the support: 0.10
    nats too high for 2000 uniform samples of a cube and k = 3. Its gradient grows as one over the
    distances. Neighbours are found by a tree in at most 8 dimensions on the CPU, otherwise by a
    matrix product, and by differences for each sample where the product's rounding could matter.

    Examples
    --------
    >>> z = torch.tensor([[0.0], [1.0], [3.0]])  # distances 1, 1, 2; psi(3) - psi(1) = 3/2
    >>> bool(torch.isclose(knn_entropy(z, k=1), torch.tensor(1.5 + math.log(2) * 4 / 3)))
    True
    """
    z = codes("z", z)
    n, d = z.shape
    if validation.integer("k", k, at_least=1) >= n:
        raise ValueError(f"k must be below the number of samples {n}, got {k}")
    x = z.double()
    squares = (x - x[_neighbour(x.detach(), k)]).square().sum(1)
    ties = int((squares.detach() == 0).sum())
    if ties:
        raise ValueError(
            f"z must have at most {k} equal rows, got {ties} of {n} rows at distance zero from "
            f"their neighbour number {k}: the estimate is minus infinity"
        )
    constant = float(special.digamma(n) - special.digamma(k))
    log_ball = d / 2 * math.log(math.pi) - math.lgamma(d / 2 + 1)
    return (constant + log_ball + d / 2 * squares.log().mean()).to(z.dtype)


def _neighbour(x: Tensor, k: int) -> Tensor:
    """Return the index of the k-th nearest other row of each row."""
    if x.shape[1] <= _TREE_DIMENSIONS and x.device.type == "cpu":
        # The row itself is among the k + 1 nearest; the last of them is as far as the k-th other.
        nearest = cast(IndexArray, KDTree(x.numpy()).query(x.numpy(), k + 1)[1])
        return torch.from_numpy(nearest[:, k])
    centre = centred(x)
    # The product moves the k-th smallest by twice its error at most, and centring by no more.
    error = 4 * rounding(centre, centre)
    result = torch.empty(len(x), dtype=torch.int64, device=x.device)
    for place in torch.arange(len(x), device=x.device).split(max(1, _PAIRS_AT_ONCE // len(x))):
        index, square = _search(x, centre, place, k, product_squares)
        doubtful = error[place] > _SQUARE_ERROR * square
        if bool(doubtful.any()):
            index[doubtful], _ = _search(x, x, place[doubtful], k, exact_squares)
        result[place] = index
    return result


def _search(
    x: Tensor, points: Tensor, place: Tensor, k: int, squares: Callable[[Tensor, Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """Return the k-th neighbours of the rows at `place` by `squares` of `points`.

    With them come their squared distances in x, from differences.
    """
    rough = squares(points[place], points)
    rough.scatter_(1, place[:, None], torch.inf)
    near = rough.topk(k, largest=False, sorted=False).indices
    true = (x[place][:, None] - x[near]).square().sum(2)
    farthest = true.argmax(1, keepdim=True)
    return near.gather(1, farthest)[:, 0], true.gather(1, farthest)[:, 0]

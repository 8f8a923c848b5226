"""The regularisers of VICReg, with and without autograd, at the least arithmetic.

Both directions of the identity between the Gram matrix and the covariance matrix are used: the
smaller of the two is formed. For centred `z` with covariance ``C = z'z / (n - 1)``,
``|z z'|_F = |z'z|_F`` and ``(z z') z = z (z'z)``.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ._inputs import centre

BLOCK, BLOCKS = 128, 8
LARGE = 2**26  # multiplications below which the blocks cost more than they save
CHUNK = 2**17  # entries that stay in a core's cache


class Hinge(NamedTuple):
    """Target standard deviation and the number added to the variance inside the root."""

    gamma: float
    eps: float

    def __call__(self, variances: Tensor) -> Tensor:
        """Return the mean over the coordinates of what each deviation lacks to the target."""
        return torch.relu(self.gamma - torch.sqrt(variances + self.eps)).mean()

    def slopes(self, variances: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean, and its derivatives with respect to the variances."""
        deviations = torch.sqrt(variances + self.eps)
        lacks = torch.relu(self.gamma - deviations)
        slopes = torch.where(lacks > 0, -0.5 / deviations, 0.0) / len(variances)
        return lacks.mean(), slopes


def regularizers(z: Tensor, hinge: Hinge) -> tuple[Tensor, Tensor]:
    """Return the variance term and the covariance term of one batch, for autograd."""
    n, d = z.shape
    centred, squares = centre(z)
    if n < d:
        off_diagonal = (centred @ centred.T).square().sum() - squares.square().sum()
    else:
        moments = centred.T @ centred
        off_diagonal = (moments - torch.diag(moments.diagonal())).square().sum()
    return hinge(squares / (n - 1)), off_diagonal / (d * (n - 1) ** 2)


def add_regularizers(
    z: Tensor, hinge: Hinge, variance: float, covariance: float, gradient: Tensor, work: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the two terms, and add the gradient of their weighted sum to `gradient`.

    `work`, a tensor like `z`, is overwritten.
    """
    n, d = z.shape
    centred = torch.sub(z, z.mean(0), out=work)
    squares = column_squares(centred)
    lack, slopes = hinge.slopes(squares / (n - 1))
    columns = slopes * (2 * variance / (n - 1))
    scale = 4 * covariance / (d * (n - 1) ** 2)
    if n < d:
        products = gram(centred)
        off_diagonal = products.square().sum() - squares.square().sum()
        gradient.addcmul_(centred, columns - scale * squares)
        gradient.addmm_(products, centred, alpha=scale)
    else:
        # Subtracting the diagonal afterwards would cancel digits where the batch is whitened.
        moments = gram(centred.T).fill_diagonal_(0)
        off_diagonal = moments.square().sum()
        gradient.addcmul_(centred, columns)
        gradient.addmm_(centred, moments, alpha=scale)
    return lack, off_diagonal / (d * (n - 1) ** 2)


def column_squares(x: Tensor) -> Tensor:
    """Return the column sums of squares without autograd."""
    return torch.stack([(part * part).sum(0) for part in _chunks(x)]).sum(0)


def column_products(x: Tensor, y: Tensor) -> Tensor:
    """Return the column sums of the entrywise product without autograd."""
    parts = zip(_chunks(x), _chunks(y), strict=True)
    return torch.stack([(a * b).sum(0) for a, b in parts]).sum(0)


def row_squares(x: Tensor) -> Tensor:
    """Return the row sums of squares without autograd."""
    return torch.cat([(part * part).sum(1) for part in _chunks(x)])


def _chunks(x: Tensor) -> tuple[Tensor, ...]:
    """Return `x` a few rows at a time on a CPU, as a whole elsewhere.

    A product of the size of `x` costs several times its arithmetic, in fresh pages of memory.
    """
    return x.split(max(1, CHUNK // x.shape[1])) if x.is_cpu else (x,)


def gram(x: Tensor) -> Tensor:
    """Return ``x x'`` without autograd; on a CPU little more than half of it is multiplied."""
    n = len(x)
    if not x.is_cpu or n * x.numel() < LARGE:
        return x @ x.T
    block = max(BLOCK, -(-n // BLOCKS))
    products = x.new_empty(n, n)
    for i in range(0, n, block):
        j = min(i + block, n)
        torch.mm(x[i:j], x[i:].T, out=products[i:j, i:])
        products[j:, i:j] = products[i:j, j:].T
    return products

"""Squared Euclidean distances between all rows, and the error of the fast way to form them."""

import torch
from torch import Tensor


def product_squares(x: Tensor, y: Tensor) -> Tensor:
    """Return squared distances from one matrix product, shape (n, m); fast, but it cancels.

    Parameters
    ----------
    x, y : Tensor, shapes (n, d) and (m, d)

    Examples
    --------
    >>> product_squares(torch.zeros(1, 2), torch.ones(1, 2))
    tensor([[2.]])
    """
    own = x.square().sum(1, keepdim=True) + y.square().sum(1)
    return own.addmm_(x, y.mT, alpha=-2).clamp_(min=0)


def exact_squares(x: Tensor, y: Tensor) -> Tensor:
    """Return squared distances from differences, shape (n, m); their relative error is tiny.

    Parameters
    ----------
    x, y : Tensor, shapes (n, d) and (m, d)

    Examples
    --------
    >>> exact_squares(torch.full((1, 1), 1e8), torch.full((1, 1), 1e8 + 8))
    tensor([[64.]])
    """
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").square_()


def rounding(x: Tensor, y: Tensor) -> Tensor:
    r"""Bound the absolute error of `product_squares` in each row of x, shape (n,).

    .. math:: |\text{error}| \le (d + 3)\, u\, (\|x_i\| + \max_j \|y_j\|)^2

    A sum of d products rounds by at most d units u of the sum of their magnitudes, and three more
    roundings follow.

    Parameters
    ----------
    x, y : Tensor, shapes (n, d) and (m, d)

    Examples
    --------
    >>> rounding(torch.zeros(1, 1), torch.zeros(2, 1))
    tensor([0.])
    """
    reach: Tensor = x.norm(dim=1) + y.norm(dim=1).max()
    return (x.shape[1] + 3) * torch.finfo(x.dtype).eps * reach.square()

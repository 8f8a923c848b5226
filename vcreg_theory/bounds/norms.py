"""Norms of whole networks, which supervised bounds are made of."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .. import validation


class NetworkNorms(NamedTuple):
    r"""Norms of a network given by its matrices.

    `spectral` is the spectral complexity of Bartlett, Foster and Telgarsky (2017), `lipschitz` the
    product of the spectral norms, `frobenius` the product of the Frobenius norms, `path_1` and
    `path_2` the sum over all paths of the products of absolute weights, and the root of the sum of
    their squares; `depth` the number of matrices.
    """

    spectral: float
    lipschitz: float
    frobenius: float
    path_1: float
    path_2: float
    depth: int


class Stack(NamedTuple):
    """Norms of each matrix of a network and its sums over paths so far; more can be put on top."""

    spectral: tuple[float, ...]
    rows: tuple[float, ...]
    frobenius: tuple[float, ...]
    path_1: Tensor
    path_2: Tensor
    exponent: int  # of the power of two to multiply paths with

    @classmethod
    def of(cls, matrices: Sequence[Tensor]) -> "Stack":
        """Return the stack of some matrices, from the input upwards."""
        if not matrices:
            raise ValueError("matrices must hold at least 1 matrix, got none")
        first = validation.tensor("matrices", matrices[0], ndim=2)
        ones = torch.ones(first.shape[1], dtype=torch.float64, device=first.device)
        stack = cls((), (), (), ones, ones, 0)
        for matrix in matrices:
            stack = stack.put(matrix)
        return stack

    def put(self, matrix: Tensor) -> "Stack":
        """Return the stack with one more matrix on top."""
        a = validation.tensor("matrices", matrix, ndim=2).detach().to(self.path_1)
        if a.shape[1] != len(self.path_1):
            raise ValueError(
                f"matrices must fit together, got {len(self.path_1)} outputs and then shape "
                f"{tuple(a.shape)}"
            )
        a, exponent = _reduced(a)
        return Stack(
            (*self.spectral, _scaled(_spectral_norm(a), exponent)),
            (*self.rows, _scaled(float(a.norm(dim=1).sum()), exponent)),
            (*self.frobenius, _scaled(float(a.norm()), exponent)),
            a.abs() @ self.path_1,
            a.square() @ self.path_2,
            self.exponent + exponent,
        )

    def norms(self) -> NetworkNorms:
        """Return the norms of the whole."""
        lipschitz = math.prod(self.spectral)
        ratios = zip(self.rows, self.spectral, strict=True)
        total = sum((row / value) ** (2 / 3) if value else 0.0 for row, value in ratios)
        return NetworkNorms(
            lipschitz * total**1.5,
            lipschitz,
            math.prod(self.frobenius),
            _scaled(float(self.path_1.sum()), self.exponent),
            _scaled(math.sqrt(float(self.path_2.sum())), self.exponent),
            len(self.spectral),
        )


def network_norms(matrices: Sequence[Tensor]) -> NetworkNorms:
    r"""Return the norms that supervised generalisation bounds of a network are made of.

    .. math:: \prod_l \lVert A_l \rVert_\sigma \Big(\sum_l
        \frac{\lVert A_l^\top \rVert_{2,1}^{2/3}}{\lVert A_l \rVert_\sigma^{2/3}}\Big)^{3/2},
        \qquad \prod_l \lVert A_l \rVert_F, \qquad
        1^\top |A_L| \cdots |A_1| 1, \qquad \sqrt{1^\top A_L^{\circ 2} \cdots A_1^{\circ 2} 1}

    Parameters
    ----------
    matrices : sequence of Tensor
        Matrices (out, in) of a network, in order, as of `layer_matrices`.

    Returns
    -------
    NetworkNorms

    Raises
    ------
    ValueError
        If there is no matrix, or two neighbours do not fit.

    Notes
    -----
    The first is equation (1.2) of Bartlett, Foster and Telgarsky (2017) with reference matrices
    zero, where :math:`\lVert A^\top \rVert_{2,1}` sums the norms of the rows of A. Norms of trained
    weights are not fixed in advance; bounds made of them need a grid of norms or are mere
    complexities.

    Examples
    --------
    >>> network_norms([torch.eye(2), torch.tensor([[3.0, 4.0]])])[1:5]
    (5.0, 7.0710678118654755, 7.0, 5.0)
    """
    return Stack.of(matrices).norms()


def _reduced(a: Tensor) -> tuple[Tensor, int]:
    """Return a matrix with its largest entry in [1/2, 1), and the exponent taken out.

    The division by a power of two is exact, and squares neither overflow nor underflow after it.
    """
    exponent = math.frexp(float(a.abs().max()) if a.numel() else 0.0)[1]
    half = exponent // 2  # in two steps, since 2^1074 is too large
    return a * 2.0**-half * 2.0 ** (half - exponent), exponent


def _scaled(value: float, exponent: int) -> float:
    """Return a number times a power of two, infinite where it overflows."""
    try:
        return math.ldexp(value, exponent)
    except OverflowError:
        return math.inf


def _spectral_norm(a: Tensor) -> float:
    """Return the largest singular value, by the smaller Gram matrix."""
    gram = a @ a.T if len(a) <= a.shape[1] else a.T @ a
    return math.sqrt(max(float(torch.linalg.eigvalsh(gram)[-1]), 0.0))

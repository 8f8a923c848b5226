"""The Gaussian kernel of scalar or vector variables, and the two ways to centre a Gram matrix."""

import math
from typing import Any

import torch
from torch import Tensor

from .. import validation

_HALF = (torch.float16, torch.bfloat16)


def variable(name: str, value: object, *, min_rows: int = 1) -> Tensor:
    """Return samples of shape (n,) or (n, d) as (n, d), in float32 at least."""
    if isinstance(value, Tensor) and value.dtype in _HALF:
        value = value.float()
    value = validation.tensor(name, value, ndim=(1, 2), min_rows=min_rows)
    if value.ndim == 2 and value.shape[1] == 0:
        raise ValueError(f"{name} must have at least 1 column, got shape {tuple(value.shape)}")
    return value[:, None] if value.ndim == 1 else value


def width(name: str, value: Any) -> float:
    """Return one bandwidth, a positive number or a tensor with one entry, as a float."""
    if isinstance(value, Tensor):
        if value.numel() != 1:
            raise ValueError(f"{name} must hold one number, got shape {tuple(value.shape)}")
        value = value.item()
    return validation.positive(name, value)


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """Return |x_i - y_j|^2 of rows of (n, d) and (m, d), by differences where d is small."""
    if x.shape[1] <= 4:  # the product form below loses digits to cancellation
        parts: list[Tensor] = [(a[:, None] - b).square() for a, b in zip(x.T, y.T, strict=True)]
        return sum(parts[1:], start=parts[0])
    centre = y.mean(0)  # the nearer the origin, the fewer digits the product form loses
    x, y = x - centre, y - centre
    squares = x.square().sum(1)[:, None] + y.square().sum(1)
    return (squares - 2 * x @ y.T).clamp_min(0)


def gram_less_one(x: Tensor, y: Tensor, bandwidth: float) -> Tensor:
    """Return the kernel of checked rows (n, d) and (m, d), less 1.

    No centred quantity changes, and small entries, from a bandwidth far above all distances, keep
    their digits.
    """
    scale = math.sqrt(0.5) / bandwidth
    return torch.expm1(-squared_distances(x * scale, y * scale))


def gaussian_kernel(x: Tensor, y: Tensor | None = None, *, bandwidth: float | Tensor) -> Tensor:
    r"""Return the Gaussian kernel between all pairs of samples.

    .. math:: k(x, y) = \exp\Bigl(-\frac{\lVert x-y\rVert^2}{2\sigma^2}\Bigr)

    Parameters
    ----------
    x : Tensor, shape (n,) or (n, d)
        Samples of a scalar or of a vector variable.
    y : Tensor, shape (m,) or (m, d), optional
        Samples of the same variable; `x` itself where none are given, with a diagonal of ones.
    bandwidth : float or Tensor with one entry
        The length :math:`\sigma`, positive, in the units of the samples; a constant for autograd.

    Returns
    -------
    Tensor, shape (n, m)
        Entries in [0, 1]; differentiable in the samples.

    Raises
    ------
    ValueError
        If shapes disagree, an entry is not finite, or the bandwidth is not finite and positive.

    Examples
    --------
    >>> gaussian_kernel(torch.tensor([0.0, 2.0]), bandwidth=2.0)[0]
    tensor([1.0000, 0.6065])
    """
    x = variable("x", x)
    rows = x if y is None else variable("y", y)
    if rows.shape[1] != x.shape[1] or rows.dtype != x.dtype or rows.device != x.device:
        raise ValueError(
            f"x and y must share dimension, dtype and device, got {x.shape[1]}, {x.dtype}, "
            f"{x.device} and {rows.shape[1]}, {rows.dtype}, {rows.device}"
        )
    with torch.autocast(x.device.type, enabled=False):
        kernel = 1 + gram_less_one(x, rows, width("bandwidth", bandwidth))
        if y is None and x.shape[1] > 1:  # the product form leaves rounding on the diagonal
            kernel = kernel.diagonal_scatter(torch.ones_like(kernel[0]))
        return kernel


def _square(name: str, value: object, smallest: int) -> Tensor:
    value = validation.tensor(name, value, ndim=2, min_rows=smallest)
    if value.shape[0] != value.shape[1]:
        raise ValueError(f"{name} must be square, got shape {tuple(value.shape)}")
    return value


def centre(kernel: Tensor) -> Tensor:
    r"""Return a Gram matrix centred on both sides.

    .. math:: \tilde K = H K H, \qquad H = I - \tfrac1n \mathbf 1 \mathbf 1^\top

    Parameters
    ----------
    kernel : Tensor, shape (n, n)
        A symmetric matrix.

    Returns
    -------
    Tensor, shape (n, n)
        Rows and columns sum to zero.

    Raises
    ------
    ValueError
        If the matrix is not square or an entry is not finite.

    Examples
    --------
    >>> centre(torch.eye(2))
    tensor([[ 0.5000, -0.5000],
            [-0.5000,  0.5000]])
    """
    _square("kernel", kernel, 1)
    means = kernel.mean(0)
    return kernel - means - means[:, None] + means.mean()


def u_centre(kernel: Tensor) -> Tensor:
    r"""Return a Gram matrix U-centred, as the unbiased HSIC needs it.

    .. math::
        \tilde K_{ij} = K_{ij} - \frac{r_i + r_j}{n-2} + \frac{s}{(n-1)(n-2)} \quad (i \ne j),
        \qquad \tilde K_{ii} = 0,

    with :math:`r_i = \sum_{l \ne i} K_{il}` and :math:`s = \sum_i r_i`: the unbiased HSIC of two
    variables is :math:`\langle \tilde K, \tilde L \rangle / (n(n-3))`.

    Parameters
    ----------
    kernel : Tensor, shape (n, n)
        A symmetric matrix, n at least 3; its diagonal is not used.

    Returns
    -------
    Tensor, shape (n, n)
        Rows and columns sum to zero, and the diagonal is zero.

    Raises
    ------
    ValueError
        If the matrix is not square, n < 3 or an entry is not finite.

    Notes
    -----
    Claim A2.d.

    Examples
    --------
    >>> u_centre(torch.ones(4, 4)).abs().max().item() < 1e-6
    True
    """
    n = len(_square("kernel", kernel, 3))
    zeros = torch.zeros_like(kernel[0])
    kernel = kernel.diagonal_scatter(zeros)
    rows = kernel.sum(0)
    shift = (rows + rows[:, None]) / (n - 2) - rows.sum() / ((n - 1) * (n - 2))
    return (kernel - shift).diagonal_scatter(zeros)

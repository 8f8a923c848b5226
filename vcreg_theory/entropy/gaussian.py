"""The log-determinant estimator: the entropy of a Gaussian with the covariance of the sample."""

import math

import torch
from scipy import special
from torch import Tensor

from .. import validation
from .codes import centred, codes


def logdet_entropy(z: Tensor, eps: float = 0.0) -> Tensor:
    r"""Return the entropy of the Gaussian that has the sample's covariance.

    .. math:: \hat H = \tfrac12 \log\det\bigl(2\pi e\,(\hat\Sigma + \varepsilon I)\bigr), \qquad
        \hat\Sigma = \frac1{n-1} \sum_i (z_i - \bar z)(z_i - \bar z)^\top

    Among all laws with one covariance the Gaussian has the largest entropy, so with the true
    covariance and :math:`\varepsilon = 0` this is an upper bound, blind to every other feature of
    the law. With the sample covariance it is biased, by `logdet_bias` if the samples are Gaussian.

    Parameters
    ----------
    z : Tensor, shape (n, d)
        Codes, n at least 2; more than d of them when `eps` is zero.
    eps : float
        Shrinkage added to every variance, not negative.

    Returns
    -------
    Tensor, scalar
        In nats, differentiable.

    Raises
    ------
    ValueError
        If the covariance is singular at the resolution of the numbers and `eps` is zero, or `eps`
        is too small for its size.

    Notes
    -----
    Claims B6.a, B6.c and B6.e. For :math:`n \le d` the determinant is that of the Gram matrix,
    :math:`\det(\hat\Sigma + \varepsilon I_d) = \varepsilon^{d-n} \det(K + \varepsilon I_n)`
    (Sylvester), so the cost is of order :math:`n d \min(n, d)`. At a batch that has collapsed to
    a point the gradient is exactly zero for :math:`\varepsilon > 0`.

    Examples
    --------
    >>> z = torch.tensor([[-1.0], [1.0]])  # variance 2
    >>> bool(torch.isclose(logdet_entropy(z), 0.5 * torch.tensor(4 * math.pi * math.e).log()))
    True
    """
    z = codes("z", z)
    eps = validation.nonnegative("eps", eps)
    n, d = z.shape
    if eps == 0 and n <= d:
        raise ValueError(
            f"z must have more rows than columns when eps is 0, got shape ({n}, {d}): its "
            f"covariance is singular and needs shrinkage, eps > 0"
        )
    x = centred(z)
    matrix = (x @ x.T if n <= d else x.T @ x) / (n - 1)
    matrix = matrix + eps * torch.eye(len(matrix), dtype=x.dtype, device=x.device)
    factor, failed = torch.linalg.cholesky_ex(matrix)
    _require_regular(z, eps, matrix, factor, bool(failed))
    value: Tensor = 2 * factor.diagonal().log().sum() + d * math.log(2 * math.pi * math.e)
    if n < d:
        value = value + (d - n) * math.log(eps)
    return (value / 2).to(z.dtype)


@torch.no_grad()
def _require_regular(z: Tensor, eps: float, matrix: Tensor, factor: Tensor, failed: bool) -> None:
    """Raise unless every pivot of the Cholesky factor exceeds its own rounding error."""
    rounding = max(z.shape) * torch.finfo(matrix.dtype).eps * matrix.diagonal()
    regular = not failed and bool((factor.diagonal().square() > rounding).all())
    if eps > 0 and not regular:
        raise ValueError(
            f"eps must exceed the rounding error of the covariance, got {eps:g} where the largest "
            f"variance is {float(matrix.diagonal().max()):g}"
        )
    if eps == 0 and not (regular and _resolved(z, factor, rounding)):
        raise ValueError(
            "z must have an invertible covariance when eps is 0, got one that is singular at the "
            f"resolution of {z.dtype}; it needs shrinkage, eps > 0"
        )


def _resolved(z: Tensor, factor: Tensor, rounding: Tensor) -> bool:
    """Return whether every coordinate varies, given those before, by more than rounding makes it.

    A coordinate that is a combination of d others carries a random walk of d roundings of the
    input, beside those of the covariance. What is left of it after the coordinates before is a
    combination of all these errors, with ratios within the inverse factor as coefficients.
    """
    entry = torch.finfo(z.dtype).eps * z.abs().amax(0).double()
    errors = (z.shape[1] * entry.square() + rounding).sqrt()
    shares = torch.linalg.solve_triangular(factor, torch.diag(errors), upper=False)
    return bool((shares.square().sum(1) < 1).all())


def logdet_bias(n: int, d: int) -> float:
    r"""Return the exact bias of `logdet_entropy` for Gaussian samples, without shrinkage.

    .. math:: \mathbb E\,\hat H - H = \frac12 \Bigl[\sum_{i=1}^d \psi\Bigl(\frac{n-i}2\Bigr)
        + d \log\frac2{n-1}\Bigr]

    with :math:`\psi` the digamma function, whatever the mean and the covariance. It is negative,
    and about :math:`-d(d+1)/(4n)` for large n.

    Parameters
    ----------
    n : int
        Number of samples, more than `d`.
    d : int
        Dimension, at least 1.

    Returns
    -------
    float
        In nats.

    Raises
    ------
    ValueError
        If `n` does not exceed `d`: the covariance is singular and the entropy minus infinity.

    Notes
    -----
    Claim B6.a. :math:`(n-1)\hat\Sigma` has Wishart's law with n - 1 degrees of freedom, whose
    determinant over that of :math:`\Sigma` is a product of independent :math:`\chi^2_{n-i}`, and
    :math:`\mathbb E \log\chi^2_m = \psi(m/2) + \log 2`.

    Examples
    --------
    >>> round(logdet_bias(20, 8), 4)
    -1.1288
    """
    d = validation.integer("d", d, at_least=1)
    n = validation.integer("n", n, at_least=2)
    if n <= d:
        raise ValueError(f"n must exceed d = {d}, got {n}: the covariance is singular")
    digammas = special.digamma((n - torch.arange(1, d + 1).numpy()) / 2)
    return float(digammas.sum() + d * math.log(2 / (n - 1))) / 2

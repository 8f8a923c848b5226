"""The covariances of largest log-determinant under each constraint that may stand behind VICReg."""

from typing import Any

import torch
from torch import Tensor

from .. import validation
from ..entropy.codes import widened
from ._barrier import dominating
from ._matrices import definite, semidefinite


def feasibility_margin(variances: Tensor, local: Tensor) -> Tensor:
    r"""Return by how much a diagonal covariance dominates the mean local covariance.

    .. math:: \lambda_{\min}\bigl(\operatorname{diag}(v) - \mathbb E\,\Sigma(X)\bigr)

    The codes have the covariance :math:`\Sigma_Z = \mathbb E\,\Sigma(X) + \operatorname{Cov}
    \mu(X) \succeq \mathbb E\,\Sigma(X)`, so a diagonal one can be reached only if this is not
    negative.

    Parameters
    ----------
    variances : Tensor, shape (d,)
        The diagonal v, positive.
    local : Tensor, shape (d, d)
        Mean local covariance, without negative eigenvalues.

    Returns
    -------
    Tensor, scalar

    Raises
    ------
    ValueError
        If a shape does not fit, a variance is not positive or `local` has a negative eigenvalue.

    Notes
    -----
    Claim B5.a.

    Examples
    --------
    >>> local = torch.tensor([[0.9, 0.6], [0.6, 0.9]])
    >>> round(float(feasibility_margin(torch.ones(2), local)), 6)  # 1 - 1.5
    -0.5
    """
    v = _variances(variances)
    margin: Tensor = torch.linalg.eigvalsh(torch.diag(v) - semidefinite("local", local, len(v)))[0]
    return margin.to(widened(variances).dtype)


def variances_maximiser(
    variances: Tensor, *, local: Tensor | None = None, tolerance: float = 1e-10
) -> Tensor:
    r"""Return the covariance of largest log-determinant with given variances.

    .. math:: \max \log|\Sigma| \quad \text{over} \quad \Sigma_{ii} = v_i, \;
        \Sigma \succeq \mathbb E\,\Sigma(X)

    It is :math:`\operatorname{diag}(v)` wherever that is feasible. Elsewhere it is found by a
    barrier method.

    Parameters
    ----------
    variances : Tensor, shape (d,)
        The diagonal v, positive, and above that of `local`.
    local : Tensor, shape (d, d), optional
        Mean local covariance :math:`\mathbb E\,\Sigma(X)`, without negative eigenvalues; zero by
        default.
    tolerance : float
        How far the log-determinant may stay below its maximum where the answer is not diagonal.

    Returns
    -------
    Tensor, shape (d, d)

    Raises
    ------
    ValueError
        If an argument is not allowed, or a variance does not exceed the local one: then the
        coordinate has no room, and the matrix none in its row.

    Notes
    -----
    Claim B5.a, by Hadamard's inequality. The barrier method maximises :math:`\log|\Sigma| + \tau
    \log|\Sigma - \mathbb E\,\Sigma(X)|` for falling :math:`\tau`, by damped Newton steps; duality
    gives a log-determinant within :math:`\tau d` of the maximum.

    Examples
    --------
    >>> local = torch.tensor([[0.9, 0.6], [0.6, 0.9]], dtype=torch.float64)
    >>> best = variances_maximiser(torch.ones(2, dtype=torch.float64), local=local)
    >>> round(float(best[0, 1]), 6)  # correlations from 0.5 to 0.7 are feasible
    0.5
    """
    v = _variances(variances).detach()
    tolerance = validation.positive("tolerance", tolerance)
    best = torch.diag(v)
    if local is not None:
        least = semidefinite("local", local, len(v)).detach()
        room = v - least.diagonal()
        if float(room.min()) <= 0:
            raise ValueError(
                "variances must exceed the diagonal of local, got a smallest difference of "
                f"{float(room.min()):g}"
            )
        if float(torch.linalg.eigvalsh(best - least)[0]) < 0:
            best = dominating(least, room, tolerance)
    return best.to(widened(variances).dtype)


def trace_maximiser(trace: float, d: int, *, local: Tensor | None = None) -> Tensor:
    r"""Return the covariance of largest log-determinant with a bounded trace.

    .. math:: \tfrac\tau d I, \qquad\text{or}\qquad \sum_i \max(n_i, w)\, u_i u_i^\top
        \quad\text{with}\quad \sum_i \max(n_i, w) = \tau

    where the mean local covariance :math:`\sum_i n_i u_i u_i^\top` is too large in some direction
    to leave room for a multiple of the identity.

    Parameters
    ----------
    trace : float
        The bound :math:`\tau` on the trace, positive, and above the trace of `local`.
    d : int
        Size.
    local : Tensor, shape (d, d), optional
        Mean local covariance, without negative eigenvalues; zero by default.

    Returns
    -------
    Tensor, shape (d, d)
        In float64 if `local` is not given.

    Raises
    ------
    ValueError
        If an argument is not allowed or no covariance has so small a trace.

    Notes
    -----
    Claim B5.b, by the inequality of the means; the level w fills up the small eigenvalues.

    Examples
    --------
    >>> trace_maximiser(4.0, 2, local=torch.diag(torch.tensor([3.0, 0.5])))
    tensor([[3., 0.],
            [0., 1.]])
    """
    trace = validation.positive("trace", trace)
    d = validation.integer("d", d, at_least=1)
    if local is None:
        return trace / d * torch.eye(d, dtype=torch.float64)
    values, vectors = torch.linalg.eigh(semidefinite("local", local, d).detach())
    if float(values.sum()) >= trace:
        raise ValueError(
            f"trace must exceed the trace of local, {float(values.sum()):g}, got {trace:g}"
        )
    # With the i + 1 smallest filled up, the level is what the others leave; the fewest that do.
    kept = values.sum() - values.cumsum(0)
    levels = (trace - kept) / torch.arange(1, d + 1, dtype=values.dtype, device=values.device)
    filled = int((levels > values).nonzero().max())
    levels = values.clamp(min=float(levels[filled]))
    found: Tensor = (vectors * levels) @ vectors.T
    return found.to(widened(local).dtype)


def spectral_maximiser(largest: float, d: int, *, local: Tensor | None = None) -> Tensor:
    r"""Return the covariance of largest log-determinant with bounded eigenvalues, :math:`cI`.

    Parameters
    ----------
    largest : float
        The bound c on the eigenvalues, positive.
    d : int
        Size.
    local : Tensor, shape (d, d), optional
        Mean local covariance, which must have no eigenvalue above c.

    Returns
    -------
    Tensor, shape (d, d)
        In float64 if `local` is not given.

    Raises
    ------
    ValueError
        If an argument is not allowed or no covariance is feasible.

    Notes
    -----
    Claim B5.b. Wherever any covariance is feasible this one is.

    Examples
    --------
    >>> spectral_maximiser(2.0, 1)
    tensor([[2.]], dtype=torch.float64)
    """
    largest = validation.positive("largest", largest)
    d = validation.integer("d", d, at_least=1)
    best = largest * torch.eye(d, dtype=torch.float64)
    if local is None:
        return best
    reach = float(torch.linalg.eigvalsh(semidefinite("local", local, d).detach())[-1])
    if reach > largest:
        raise ValueError(
            f"largest must be at least the largest eigenvalue of local, {reach:g}, got {largest:g}"
        )
    return best.to(widened(local))


def metric_maximiser(metric: Tensor) -> Tensor:
    r"""Return the covariance that maximises the log-determinant less a linear cost.

    .. math:: \arg\max_\Sigma \; \log|\Sigma| - \operatorname{tr} \Sigma M = M^{-1}

    Parameters
    ----------
    metric : Tensor, shape (d, d)
        The matrix M, positive definite.

    Returns
    -------
    Tensor, shape (d, d)
        Differentiable; diagonal only if M is.

    Raises
    ------
    ValueError
        If M is not symmetric and positive definite at the resolution of its dtype.

    Notes
    -----
    Claim B5.c. The objective is strictly concave with the gradient :math:`\Sigma^{-1} - M`.

    Examples
    --------
    >>> metric_maximiser(torch.tensor([[1.0, 0.5], [0.5, 1.0]]))
    tensor([[ 1.3333, -0.6667],
            [-0.6667,  1.3333]])
    """
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(definite("metric", metric)))
    return inverse.to(widened(metric).dtype)


def _variances(variances: Any) -> Tensor:
    """Return positive variances in float64."""
    v = validation.tensor("variances", widened(variances), ndim=1, min_rows=1)
    if float(v.detach().min()) <= 0:
        raise ValueError(f"variances must be positive, got {float(v.detach().min()):g}")
    return v.double()

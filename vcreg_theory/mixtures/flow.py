"""The gradient flow of a mixture's likelihood in its centroids, and in its inputs."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .. import validation
from .._types import FloatArray
from ._inputs import exponents, points
from ._integrate import _EPS, IntegrationFailed, Motion, follow, follow_nearest

ASSIGNMENTS = ("soft", "one-to-one", "nearest")
"""What `mixture_gradient_flow` takes for the shares of centroids in inputs."""


class MixtureTrajectory(NamedTuple):
    """Times (T,), `inputs` (T, N, d) and `centroids` (T, K, d)."""

    times: Tensor
    inputs: Tensor
    centroids: Tensor


def mixture_gradient_flow(
    x: Tensor,
    centroids: Tensor,
    variance: float,
    *,
    times: Any,
    assignment: str = "soft",
    trainable_inputs: bool = True,
    rtol: float = 1e-10,
    atol: float = 1e-12,
    max_evaluations: int = 1_000_000,
) -> MixtureTrajectory:
    r"""Follow the gradient of the likelihood in centroids and, if they are trainable, inputs.

    .. math:: \dot x_n = \sigma^{-2} \sum_k r_{nk} (\mu_k - x_n), \qquad
        \dot\mu_k = \sigma^{-2} \sum_n r_{nk} (x_n - \mu_k)

    Parameters
    ----------
    x : Tensor, shape (N, d)
        Inputs at time 0.
    centroids : Tensor, shape (K, d)
        Centroids at time 0.
    variance : float
        The variance :math:`\sigma^2` of every component, positive and fixed.
    times : array_like, shape (T,)
        When the trajectory is recorded: not negative, strictly ascending.
    assignment : {"soft", "one-to-one", "nearest"}
        Where the shares :math:`r_{nk}` come from: the responsibilities; 1 for k = n and K = N; or
        1 for the centroid that is nearest at the time.
    trainable_inputs : bool
        Whether the inputs move; fixed inputs have velocity zero.
    rtol, atol : float
        Relative and absolute tolerance of each step of the integrator, DOP853.
    max_evaluations : int
        Evaluations of the velocity after which the integration is given up. At small variances
        time is long in units of the variance (`two_point_collapse_time`).

    Returns
    -------
    MixtureTrajectory
        In the dtype and on the device of `x`, without gradient; integrated in float64 on the CPU.

    Raises
    ------
    TypeError, ValueError
        If shapes do not fit, an entry is not finite, a parameter is out of range, or one-to-one
        assignment meets K other than N.
    IntegrationFailed
        If the integrator gives up, or moved what the flow conserves: with trainable inputs the
        common mean, and the midpoint of each pair under one-to-one assignment.

    Notes
    -----
    Claims B7.a to B7.e. Under "nearest" the times of ties are found to rounding and the flow is
    smooth between them.

    Examples
    --------
    >>> x = torch.tensor([[-1.0], [1.0]])
    >>> one = mixture_gradient_flow(x, x, 1.0, times=[0.0, 20.0])
    >>> bool(one.inputs[-1].abs().max() < 1e-3)  # soft assignment: collapse
    True
    >>> one = mixture_gradient_flow(x, x / 2, 1.0, times=[0.0, 20.0], assignment="one-to-one")
    >>> one.inputs[-1].flatten()  # pairs keep their midpoints
    tensor([-0.7500,  0.7500])
    """
    x, centroids = points(x, centroids)
    _, variance = exponents(x.detach(), centroids.detach(), variance)
    validation.member("assignment", assignment, ASSIGNMENTS)
    if assignment == "one-to-one" and len(x) != len(centroids):
        raise ValueError(
            "one-to-one assignment needs as many centroids as inputs, "
            f"got {len(centroids)} and {len(x)}"
        )
    times = _times(times)
    positions = [part.detach().cpu().double().numpy() for part in (x, centroids)]
    # About its resting point the flow loses no digits to an offset.
    middle = (np.concatenate(positions) if trainable_inputs else positions[0]).mean(0)
    motion = Motion(
        positions[0] - middle,
        positions[1] - middle,
        variance=variance,
        trainable=trainable_inputs,
        rtol=validation.positive("rtol", rtol),
        atol=validation.positive("atol", atol),
        budget=validation.integer("max_evaluations", max_evaluations, at_least=1),
    )
    states = _states(motion, assignment, times)
    pairs = [motion.split(state) for state in states]
    _require_conserved(motion, pairs, assignment, float(times[-1]))
    recorded = [np.stack(part) + middle for part in zip(*pairs, strict=True)]
    for record, start in zip(recorded, positions, strict=True):
        if times[0] == 0:
            record[0] = start  # to the last digit
    if not trainable_inputs:
        recorded[0][:] = positions[0]
    return MixtureTrajectory(
        *(torch.as_tensor(v, dtype=x.dtype, device=x.device) for v in (times, *recorded))
    )


def _times(times: Any) -> FloatArray:
    """Return the times of a record."""
    found = validation.sample("times", times)
    if found[0] < 0 or (np.diff(found) <= 0).any():
        raise ValueError(f"times must be strictly ascending from 0 or later, got {found!r}")
    return found


def _states(motion: Motion, assignment: str, times: FloatArray) -> FloatArray:
    """Return the states at the times, one a row."""
    if assignment == "soft":
        return follow(motion, motion.soft, times)
    if assignment == "nearest":
        return follow_nearest(motion, times)
    return follow(motion, motion.hard(np.arange(len(motion.x))), times)


def _require_conserved(
    motion: Motion,
    pairs: list[tuple[FloatArray, FloatArray]],
    assignment: str,
    end: float,
) -> None:
    """Raise if what the flow conserves has moved by more than rounding.

    A step of a Runge-Kutta method conserves linear invariants exactly. Each evaluation adds a
    velocity, times the step at most a few times the reach of the points, with a few roundings.
    """
    if not motion.trainable:
        return
    reach = max(np.abs(motion.x).max(), np.abs(motion.centroids).max())
    allowed = 16 * _EPS * reach * (1 + motion.evaluations)
    first = _invariants(motion.x, motion.centroids, assignment)
    drift = max(np.abs(_invariants(x, mu, assignment) - first).max() for x, mu in pairs)
    if not drift <= allowed:
        raise IntegrationFailed(end, f"conserved means moved by {drift:g}, above {allowed:g}")


def _invariants(x: FloatArray, mu: FloatArray, assignment: str) -> FloatArray:
    """Return the common mean, or the midpoints of all pairs."""
    if assignment == "one-to-one":
        return (x + mu) / 2
    mean: FloatArray = np.concatenate([x, mu]).mean(0, keepdims=True)
    return mean

"""Parameters of the estimator, checked."""

from typing import Any, NamedTuple

import numpy as np

from .. import validation
from .projector import PROJECTORS


class Options(NamedTuple):
    """What the solver is asked: projector, its width, constraint, ridge (None: chosen), ending."""

    projector: str = "tanh"
    width: int = 12
    orthogonal: bool = False
    ridge: float | None = None
    tol: float = 1e-4


def check_options(given: dict[str, Any], shape: tuple[int, ...]) -> tuple[Options, int | None]:
    """Check the parameters of the estimator against the shape of the observations.

    Returns
    -------
    Options, int or None
        Those of the solver, and the number of components.

    Raises
    ------
    TypeError, ValueError
        If a parameter is out of range or there are fewer than four samples.
    """
    n, p = shape
    components = given["n_components"]
    if components is not None:
        components = validation.integer("n_components", components, at_least=1)
        if components > p:
            raise ValueError(
                f"n_components must be at most the number of features, got {components} "
                f"for X of shape {shape}"
            )
    if n < 4:
        raise ValueError(f"X must have at least 4 samples, got n_samples = {n}")
    validation.integer("max_iter", given["max_iter"], at_least=1)
    orthogonal, ridge = given["orthogonal"], given["ridge"]
    if not isinstance(orthogonal, bool | np.bool_):
        raise TypeError(f"orthogonal must be a bool, got {orthogonal!r}")
    options = Options(
        validation.member("projector", given["projector"], PROJECTORS),
        validation.integer("width", given["width"], at_least=2),
        bool(orthogonal),
        None if ridge is None else validation.nonnegative("ridge", ridge),
        validation.positive("tol", given["tol"]),
    )
    return options, components

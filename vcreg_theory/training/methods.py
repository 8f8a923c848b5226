"""The self-supervised methods that the suites compare, as data."""

import re
from dataclasses import dataclass, field
from typing import Any

RANDOM_PROJECTOR = re.compile(r"vcreg_random_([1-9][0-9]*)")


@dataclass(frozen=True)
class Method:
    """One self-supervised method.

    Parameters
    ----------
    name, title : str
        Name in files and on the command line, and in tables.
    loss : str
        Function of `vcreg_theory.losses` that compares the embeddings of two views; empty for a
        method that regresses one view's embedding on the other's, or that does not train.
    loss_options : dict
        Its keyword arguments.
    trains : bool
        Whether there is anything to train.
    frozen_projector : bool
        Whether the projector keeps its random weights.
    predictor : {"none", "mlp", "directset"}
        What stands between an embedding and its regression target: nothing, a learned network, or
        a matrix set from the correlation of the embeddings.
    predictor_options : dict
        ``alpha, eps, rho, normalize`` of a set predictor.
    target : {"none", "online", "ema"}
        Where the regression target comes from: the network itself, held fixed by the
        stop-gradient, or an exponential moving average of it.
    decay, final_decay : float
        Decay of that average at the first step and at the last, along a cosine.
    centred : bool
        Whether embeddings are centred on the batch before they are compared.
    """

    name: str
    title: str
    loss: str = ""
    loss_options: dict[str, Any] = field(default_factory=dict)
    trains: bool = True
    frozen_projector: bool = False
    predictor: str = "none"
    predictor_options: dict[str, Any] = field(default_factory=dict)
    target: str = "none"
    decay: float = 0.99
    final_decay: float = 0.99
    centred: bool = False


def _directset(name: str, title: str, alpha: float) -> Method:
    """Return a method whose predictor is set from the correlation of the embeddings.

    The convention is that of the public code of DirectPred with its balance type "boost_scale":
    eigenvalues are divided by the largest and eps is added to their power, so that eps has no unit.
    Embeddings are centred, without which the mean direction that ReLU features share takes the
    largest eigenvalue.
    """
    options = {"alpha": alpha, "eps": 0.1, "rho": 0.5, "normalize": "spectral"}
    return Method(
        name,
        title,
        predictor="directset",
        predictor_options=options,
        target="ema",
        centred=True,
    )


METHODS = {
    method.name: method
    for method in (
        Method("random", "Random encoder", trains=False),
        Method("vicreg", "VICReg", "vicreg_loss"),
        Method("vicreg_logdet", "VICReg + LogDet", "vicreg_logdet_loss"),
        Method("vicreg_pairdist", "VICReg + PairDist", "vicreg_pairdist_loss"),
        Method("barlow_twins", "Barlow Twins", "barlow_twins_loss"),
        Method("wmse", "W-MSE", "wmse_loss"),
        Method("simclr", "SimCLR", "infonce_loss"),
        Method("byol", "BYOL", predictor="mlp", target="ema", decay=0.99, final_decay=1.0),
        Method("simsiam", "SimSiam", predictor="mlp", target="online"),
        _directset("directpred", "DirectPred", 0.5),
        _directset("directcopy", "DirectCopy", 1.0),
        _directset("directset2", "DirectSet(2)", 2.0),
        Method("no_predictor", "EMA target, no predictor", target="ema", centred=True),
    )
}
"""The methods by name."""


def get(name: str) -> Method:
    """Return the method of a name.

    Parameters
    ----------
    name : str
        A key of `METHODS`, or ``vcreg_random_<width>``: VICReg on that many random features of the
        representation, one layer of frozen weights, batch normalisation and ReLU.

    Returns
    -------
    Method

    Raises
    ------
    ValueError
        If there is no such method.

    Notes
    -----
    Claims A2, A5, A7, B6, B9, C7 and C9.

    Examples
    --------
    >>> get("directcopy").predictor_options["alpha"]
    1.0
    >>> get("vcreg_random_256").frozen_projector
    True
    """
    if name in METHODS:
        return METHODS[name]
    match = RANDOM_PROJECTOR.fullmatch(name)
    if match:
        title = f"VCReg, random projector {match[1]}"
        return Method(name, title, "vicreg_loss", frozen_projector=True)
    raise ValueError(
        f"method must be one of {', '.join(METHODS)} or vcreg_random_<width>, got {name!r}"
    )

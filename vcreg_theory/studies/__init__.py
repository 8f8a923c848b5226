"""Recorded studies of small networks: designs fixed before a result was seen, and what was found.

`factors` trains twenty projectors on a mixture of eight factors (claims A7.c to A7.e), `transfer`
18 encoders of digits with probes in and out of domain (A8.a, A8.b). `study` runs a design row by
row into one file, ``data/studies/<name>.json``; `reading` takes figures from it, `ranking` compares
models by a signal without labels, and `power` says how many models that needs.
"""

from . import factors, transfer
from .cells import Cell, Trained, train
from .power import detectable_correlation, models_needed, rank_test_power
from .ranking import Ranking, partial_ranking, rank_difference, ranking
from .reading import column, difference_interval, means, prediction_interval, ratio_interval, rows
from .signals import Signals, dependence
from .study import Study, digest, read, run

STUDIES = {study.name: study for study in (factors.STUDY, transfer.STUDY)}
"""The studies by name."""

__all__ = [
    "STUDIES",
    "Cell",
    "Ranking",
    "Signals",
    "Study",
    "Trained",
    "column",
    "dependence",
    "detectable_correlation",
    "difference_interval",
    "digest",
    "factors",
    "means",
    "models_needed",
    "partial_ranking",
    "prediction_interval",
    "rank_difference",
    "rank_test_power",
    "ranking",
    "ratio_interval",
    "read",
    "rows",
    "run",
    "train",
    "transfer",
]

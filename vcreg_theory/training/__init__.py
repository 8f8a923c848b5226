"""Self-supervised training: a small loop in memory, and runs with records on disk.

`train_vicreg` trains one encoder in memory. A `RunConfig` describes a run of a suite, a `Trainer`
takes it to its record, and `run_suite` runs the rows that have no record yet.
"""

from .config import RunConfig
from .methods import METHODS, Method
from .networks import Network, build
from .recheck import Stored, restore
from .runner import run_rows, run_suite, status
from .suites import SUITES
from .trainer import Trainer, load_dataset
from .vicreg import Epoch, Views, train_vicreg

__all__ = [
    "METHODS",
    "SUITES",
    "Epoch",
    "Method",
    "Network",
    "RunConfig",
    "Stored",
    "Trainer",
    "Views",
    "build",
    "load_dataset",
    "restore",
    "run_rows",
    "run_suite",
    "status",
    "train_vicreg",
]

"""Where the files of a run are."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunPaths:
    """The files of one run below one folder.

    Examples
    --------
    >>> RunPaths(Path("runs"), "digits-vicreg-s0").record.as_posix()
    'runs/records/digits-vicreg-s0.json'
    """

    out: Path
    key: str

    @property
    def record(self) -> Path:
        """The record, written last: where it is, the run is finished."""
        return self.out / "records" / f"{self.key}.json"

    @property
    def checkpoint(self) -> Path:
        """The trained weights."""
        return self.out / "checkpoints" / f"{self.key}.safetensors"

    @property
    def metrics(self) -> Path:
        """One line of JSON an interval, written along training."""
        return self.out / "metrics" / f"{self.key}.jsonl"

    @property
    def state(self) -> Path:
        """What a resumed run goes on from."""
        return self.out / "state" / f"{self.key}.state"

    @property
    def lock(self) -> Path:
        """Locked by the process that trains the run."""
        return self.out / "state" / f"{self.key}.lock"

    @property
    def holder(self) -> Path:
        """Stands for the lock where the system has none."""
        return self.out / "state" / f"{self.key}.holder"

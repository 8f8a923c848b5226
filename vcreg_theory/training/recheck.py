"""Evaluate the stored weights of a record again, and compare."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from .. import checkpoints
from ..datasets import ViewDataset
from . import networks, runner, trainer
from .config import RunConfig
from .evaluation import Settings, evaluate
from .record import grouped


class Difference(NamedTuple):
    """One figure of a record beside the same figure found again.

    Examples
    --------
    >>> print(Difference("linear", 0.5, 0.6))
    linear: recorded 0.5, found 0.6
    """

    name: str
    recorded: float
    found: float

    @property
    def relative(self) -> float:
        """The difference over the larger magnitude; 0 for equal figures and for two NaN."""
        if self.recorded == self.found or (math.isnan(self.recorded) and math.isnan(self.found)):
            return 0.0
        difference = abs(self.recorded - self.found)
        relative = difference / max(abs(self.recorded), abs(self.found))
        return math.inf if math.isnan(relative) else relative

    def __str__(self) -> str:
        return f"{self.name}: recorded {self.recorded:.6g}, found {self.found:.6g}"


class Stored(NamedTuple):
    """A stored network, the data it was trained on, its configuration and its whole record."""

    network: networks.Network
    dataset: ViewDataset
    config: RunConfig
    values: dict[str, Any]


def restore(record: Path, *, device: str = "auto", dataset: ViewDataset | None = None) -> Stored:
    """Return the network of a record with its stored weights, and the data of the record.

    The network is in evaluation mode.

    Parameters
    ----------
    record : Path
        The record; the weights are looked for beside its folder, as `Trainer` leaves them.
    device : str
        Where the network and the data are put; "auto" is CUDA if there is one.
    dataset : ViewDataset, optional
        The data, where an earlier call has loaded them; they are checked all the same.

    Returns
    -------
    Stored

    Raises
    ------
    FileNotFoundError
        If the record or the weights are not there.
    ValueError
        If the weights or the data are not those of the record.

    Examples
    --------
    >>> from vcreg_theory import records
    >>> restore(records.default_folder() / "digits-vicreg-s0.json").dataset.name
    'digits'
    """
    values = checkpoints.read_json(record)
    config = RunConfig.from_dict(values["config"])
    device = runner.resolve_device(device)
    network = networks.build(config)
    if values["checkpoint"] is None:
        raise FileNotFoundError(f"the weights of {record} were not kept")
    weights = record.parent.parent / values["checkpoint"]["file"]
    checkpoints.load(weights, network, sha256=values["checkpoint"]["sha256"])
    if dataset is None:
        dataset = trainer.load_dataset(config, device)
    identity = {"name": dataset.name, **dataset.identity}
    if identity != values["data"]:
        raise ValueError(f"the data are {identity}, but {record} is about {values['data']}")
    return Stored(network.to(device).eval(), dataset, config, values)


def compare(record: Path, *, device: str = "auto") -> list[Difference]:
    """Return all figures of a record's final evaluation beside those of its stored weights.

    Parameters
    ----------
    record : Path
        The record; the weights are looked for beside its folder, as `Trainer` leaves them.
    device : str
        Where to evaluate; "auto" is CUDA if there is one.

    Returns
    -------
    list of Difference

    Raises
    ------
    FileNotFoundError
        If the record or the weights are not there.
    ValueError
        If the weights or the data are not those of the record.
    """
    stored = restore(record, device=device)
    network, dataset = stored.network, stored.dataset
    settings = Settings(**stored.config.evaluation_options)
    found = grouped(evaluate(network, dataset, settings, final=True))
    return list(pairs("", stored.values["final"], found))


def pairs(name: str, recorded: Any, found: Any) -> Iterator[Difference]:
    """Yield the numbers of two nested structures of the same form.

    Parameters
    ----------
    name : str
        What precedes the names of the entries; empty at the top.
    recorded, found : object
        Dictionaries, lists, numbers, texts and None, nested alike.

    Raises
    ------
    ValueError
        If the two differ in form, in a text or in what is None.

    Examples
    --------
    >>> [str(d) for d in pairs("", {"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}})]
    ['a.b[0]: recorded 1, found 1', 'a.b[1]: recorded 2, found 3']
    """
    if isinstance(recorded, dict):
        if set(recorded) != set(found):
            raise ValueError(f"{name or 'the record'} has {sorted(recorded)}, not {sorted(found)}")
        for key in recorded:
            yield from pairs(f"{name}.{key}".lstrip("."), recorded[key], found[key])
    elif isinstance(recorded, list):
        if len(recorded) != len(found):
            raise ValueError(f"{name} has {len(recorded)} entries, not {len(found)}")
        for index, pair in enumerate(zip(recorded, found, strict=True)):
            yield from pairs(f"{name}[{index}]", *pair)
    elif isinstance(recorded, (int, float)) and isinstance(found, (int, float)):
        yield Difference(name, float(recorded), float(found))
    elif recorded != found:
        raise ValueError(f"{name} is {recorded!r} in the record, not {found!r}")

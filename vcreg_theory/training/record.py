"""The record of a finished run, and the weights it speaks of."""

from typing import TYPE_CHECKING, Any

import torch

from .. import __version__, checkpoints, models
from ..records import Record
from . import throughput
from .config import RunConfig
from .networks import Network
from .paths import RunPaths

if TYPE_CHECKING:
    from .trainer import Trainer


def export(paths: RunPaths, network: Network, config: RunConfig) -> dict[str, Any]:
    """Store the weights of encoder and projector, and return what a record says of the file.

    Parameters
    ----------
    paths : RunPaths
        Where to.
    network : Network
        The trained network.
    config : RunConfig
        Its configuration; gives the precision of the file.

    Returns
    -------
    dict
        ``file, sha256, bytes, dtype, parameters``.
    """
    metadata = {"key": config.key, "config_digest": config.digest(), "package": __version__}
    dtype = getattr(torch, config.export_dtype)
    sha256 = checkpoints.save(paths.checkpoint, network, metadata=metadata, dtype=dtype)
    return {
        "file": paths.checkpoint.relative_to(paths.out).as_posix(),
        "sha256": sha256,
        "bytes": paths.checkpoint.stat().st_size,
        "dtype": config.export_dtype,
        "parameters": sum(p.numel() for p in network.parameters()),
    }


def compose(run: "Trainer", checkpoint: dict[str, Any]) -> Record:
    """Return the record of a run that has just finished.

    Parameters
    ----------
    run : Trainer
        The run.
    checkpoint : dict
        What `export` returned.

    Returns
    -------
    Record
        Everything a reader needs to judge the run and to repeat it.
    """
    config = run.config
    return Record(
        suite=config.suite,
        method=config.method,
        title=run.engine.method.title,
        seed=config.seed,
        config=config.to_dict(),
        data={"name": run.dataset.name, **run.dataset.identity},
        package=__version__,
        torch=torch.__version__,
        device=throughput.describe_device(run.device),
        wall_seconds=run.watch.seconds,
        images_per_second=run.watch.images_per_second,
        parameters=checkpoint["parameters"],
        history=_history(run.history, run.evaluations),
        final=grouped(run.evaluations[-1]),
        checkpoint=checkpoint,
        other={
            "config_digest": config.digest(),
            "processes": run.engine.world.size,
            "trained_on": run.trained_on,
            "steps": run.engine.total,
            "evaluation_seconds": run.evaluation_seconds,
            "throughput": _speed(run),
        },
    )


def grouped(evaluation: dict[str, Any]) -> dict[str, Any]:
    """Return an evaluation in the groups of a record.

    Parameters
    ----------
    evaluation : dict
        What `evaluation.evaluate` returned, with or without ``step`` and ``epoch``.

    Returns
    -------
    dict
        ``accuracy``, ``representation``, ``embedding`` and, where the data have factors,
        ``factors`` with the share of each factor's variance.

    Examples
    --------
    >>> grouped({"step": 3, "linear": 0.5, "representation": {}, "factor_r2": {"hue": 0.1}})
    {'representation': {}, 'factors': {'r2': {'hue': 0.1}}, 'accuracy': {'linear': 0.5}}
    """
    rest = {k: v for k, v in evaluation.items() if k not in ("step", "epoch")}
    parts = ("representation", "embedding")
    groups: dict[str, Any] = {name: rest.pop(name) for name in parts if name in rest}
    names = [name for name in rest if name.endswith("factor_r2")]
    if names:
        groups["factors"] = {name.replace("factor_r2", "r2"): rest.pop(name) for name in names}
    return groups | {"accuracy": rest}


def _history(
    lines: list[dict[str, Any]], evaluations: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return logged means and evaluations in the order of their steps, one entry a step."""
    plain = ("step", "epoch", "loss", "learning_rate")
    entries: dict[int, dict[str, Any]] = {}
    for line in lines:
        entry = {name: line[name] for name in plain}
        entry["terms"] = {name: value for name, value in line.items() if name not in plain}
        entries[line["step"]] = entry
    for found in evaluations:
        entry = entries.setdefault(found["step"], {"step": found["step"], "epoch": found["epoch"]})
        entry |= grouped(found)
    return [entries[step] for step in sorted(entries)]


def _speed(run: "Trainer") -> dict[str, float | None]:
    """Return, on CUDA, the peak memory and the share of the peak speed."""
    speed: dict[str, float | None] = {}
    if run.device.type != "cuda" or not run.engine.total:
        return speed
    speed["peak_memory_bytes"] = float(torch.cuda.max_memory_allocated(run.device))
    size = tuple(run.dataset.test.images.shape[1:])
    forward = models.forward_flops(run._copy, size)
    peak = throughput.matmul_peak(run.device)
    speed["bf16_peak_flops"] = peak
    if run.watch.images_per_second is not None:
        # A backward pass costs twice a forward pass; a target network takes another forward pass.
        passes = 4 if run.engine.objective.target is not None else 3
        rate = run.watch.images_per_second / run.engine.world.size
        speed["peak_fraction"] = rate * 2 * passes * forward / peak  # two views an image
    return speed

"""One run from its configuration to its record: files, budget, interruption and resumption."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from .. import checkpoints, datasets, records
from ..datasets import ViewDataset
from . import console, distributed, networks, record, schedule, threads
from .config import RunConfig
from .engine import Engine
from .evaluation import Settings, evaluate
from .interrupt import Interrupt
from .metrics import Lines
from .paths import RunPaths
from .throughput import Stopwatch, describe_device


class Trainer:
    """Train one configuration and leave its record, or a state to go on from.

    Parameters
    ----------
    config : RunConfig
        The run.
    out : Path or str
        Folder that receives ``records``, ``checkpoints``, ``metrics`` and ``state``.
    device : torch.device or str
        Where to train.
    budget : float, optional
        Seconds after which to stop with the state stored.
    progress : bool
        Whether to show a progress bar, on a terminal.
    save_every : float
        Seconds between states.
    dataset : ViewDataset, optional
        The data, if they are already loaded; by default the configuration's.
    interrupt : Interrupt, optional
        Stops the run, with the state stored; by default only a signal does.
    say : callable
        Shows a message.

    Attributes
    ----------
    trained_on : list of str
        The devices and torch versions that trained the run, from `run` on; each once, in order.

    Notes
    -----
    On a CPU a run that was killed or stopped, at whatever step, gives the weights and the history
    of one that was not, bit for bit, if the processor and torch are the same; it goes on with the
    number of threads it began with. States and records are replaced as whole files.
    """

    def __init__(
        self,
        config: RunConfig,
        *,
        out: Path | str,
        device: torch.device | str = "cpu",
        budget: float | None = None,
        progress: bool = True,
        save_every: float = 60.0,
        dataset: ViewDataset | None = None,
        interrupt: Interrupt | None = None,
        say: Callable[[str], None] = console.say,
    ):
        self.config = config
        self.paths = RunPaths(Path(out), config.key)
        self.device = torch.device(device)
        self.deadline = None if budget is None else time.monotonic() + budget
        self.progress = progress
        self.save_every = save_every
        self.settings = Settings(**config.evaluation_options)
        self._dataset = dataset
        self.interrupt = interrupt or Interrupt()
        self.say = say
        self.trained_on: list[str] = []

    def run(self) -> str:
        """Train to the end or to the end of the budget.

        Returns
        -------
        {"finished", "unfinished"}

        Raises
        ------
        ValueError
            If the stored state is damaged or belongs to another configuration or other data.
        FloatingPointError
            If the loss is not finite; the message names the first such step and its terms.
        """
        with distributed.group(self.device) as world, self.interrupt.caught(), threads.count():
            self._prepare(world)
            finished = self._train()
            if finished and world.is_main:
                self._finish()
        return "finished" if finished else "unfinished"

    def _prepare(self, world: distributed.World) -> None:
        self.dataset = self._dataset or load_dataset(self.config, self.device)
        self.engine = Engine(self.config, self.dataset, self.device, world)
        self.watch = Stopwatch()
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        self.history: list[dict[str, Any]] = []
        self.evaluations: list[dict[str, Any]] = []
        self.evaluation_seconds = 0.0
        self._is_main = world.is_main
        self._resume()
        if self._is_main:
            self.lines = Lines(self.paths.metrics, after=self.engine.step)
        self._copy = networks.build(self.config).to(self.device)
        self._due = [
            step
            for step in schedule.evaluation_steps(self.engine.total, self.config.evaluations)
            if step < self.engine.total and step not in {e["step"] for e in self.evaluations}
        ]

    def _train(self) -> bool:
        """Take the remaining steps; return False if time was up before the last one."""
        engine, saved = self.engine, time.monotonic()
        logged = engine.step
        shown = self.progress and self._is_main
        with console.bar(self.config.key, total=engine.total, done=logged, shown=shown) as bar:
            self.watch.start()
            while engine.step < engine.total:
                if self._due and engine.step >= self._due[0]:
                    self._lap(logged)
                    logged = engine.step
                    self._evaluate(self._due.pop(0))
                if self._must_stop():
                    self._lap(logged)
                    self._save()
                    return False
                engine.train_step()
                bar.update()
                if engine.step % self.config.log_every == 0 or engine.step == engine.total:
                    self._log(bar, logged)
                    logged = engine.step
                    if time.monotonic() - saved > self.save_every:
                        self._save()
                        saved = time.monotonic()
        self._save()
        return True

    def _must_stop(self) -> bool:
        """Return whether time is up, in all processes alike."""
        engine = self.engine
        if engine.world.size > 1 and engine.step % self.config.log_every:
            return False
        late = self.deadline is not None and time.monotonic() >= self.deadline
        return engine.world.agree(late or self.interrupt.asked, self.device)

    def _lap(self, logged: int) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.watch.lap((self.engine.step - logged) * self.config.batch_size)

    def _log(self, bar: Any, logged: int) -> None:
        """Read the means of the interval, which waits for the device, and write them down."""
        entry = {"learning_rate": self.engine.learning_rate, **self.engine.read()}
        self._lap(logged)
        self.history.append(entry)
        if self._is_main:
            self.lines.append(entry | {"seconds": round(self.watch.seconds, 3)})
        bar.set_postfix(loss=f"{entry['loss']:.3g}", refresh=False)

    def _evaluate(self, step: int) -> None:
        """Evaluate the weights as they are, on a copy."""
        if self._is_main:
            began = time.perf_counter()
            self._copy.load_state_dict(self.engine.objective.network.state_dict())
            found = evaluate(self._copy, self.dataset, self.settings, final=False)
            epoch = step / self.engine.epoch_steps
            self.evaluations.append({"step": step, "epoch": epoch, **found})
            self.evaluation_seconds += time.perf_counter() - began
        self.watch.start()

    def _save(self) -> None:
        """Store the state, unless the loss was not finite since the last reading."""
        if self.engine.meter is not None:
            self.engine.meter.refuse_nonfinite()
        if not self._is_main:
            return
        state = {
            "config": self.config.to_dict(),
            "digest": self.config.digest(),
            "identity": dict(self.dataset.identity),
            "device": self.device.type,
            "threads": torch.get_num_threads(),
            "trained_on": self.trained_on,
            "engine": self.engine.state_dict(),
            "history": self.history,
            "evaluations": self.evaluations,
            "evaluation_seconds": self.evaluation_seconds,
            "watch": self.watch.state_dict(),
        }
        checkpoints.save_state(self.paths.state, state)
        self.watch.start()

    def _resume(self) -> None:
        """Go on from the stored state if there is one."""
        if not self.paths.state.exists():
            self._note_device([])
            return
        state = checkpoints.load_state(self.paths.state)
        self._refuse_foreign(state)
        self._use_threads(state.get("threads"))
        self._note_device(state.get("trained_on", []))
        self.engine.load_state_dict(state["engine"])
        self.watch.load_state_dict(state["watch"])
        self.history, self.evaluations = state["history"], state["evaluations"]
        self.evaluation_seconds = state["evaluation_seconds"]

    def _use_threads(self, stored: int | None) -> None:
        """Compute with as many threads as the run began with; the caller restores the number."""
        present = torch.get_num_threads()
        if self.device.type != "cpu" or stored in (None, present):
            return
        self._warn(f"goes on with {stored} threads, as it began, instead of {present}")
        threads.set_count(stored)

    def _note_device(self, before: list[str]) -> None:
        """Note what the run is trained on from here, and warn if that is something new."""
        here = f"{describe_device(self.device)}, torch {torch.__version__}"
        self.trained_on = before if here in before else [*before, here]
        if before and here not in before:
            self._warn(
                f"goes on on {here} after {'; '.join(before)}: "
                "the result may differ in rounding from that of an uninterrupted run"
            )

    def _warn(self, text: str) -> None:
        if self._is_main:
            self.say(f"{self.config.key}: warning: {text}")

    def _refuse_foreign(self, state: dict[str, Any]) -> None:
        """Raise unless a state is one of this run."""
        wanted = {
            **self.config.to_dict(),
            "data": dict(self.dataset.identity),
            "device": self.device.type,
            "digest": self.config.digest(),
        }
        found = {**state["config"], "data": state["identity"], "device": state["device"]}
        found["digest"] = state["digest"]
        differing = [name for name in wanted if wanted[name] != found.get(name)]
        if differing:
            raise ValueError(
                f"{self.paths.state} belongs to another run (it differs in "
                f"{', '.join(differing)}): delete it to start anew, or choose another folder"
            )

    def _finish(self) -> None:
        """Store the weights, evaluate what was stored, write the record, drop the state."""
        began = time.perf_counter()
        network = self.engine.objective.network
        stored = record.export(self.paths, network, self.config)
        checkpoints.load(self.paths.checkpoint, self._copy, sha256=stored["sha256"])
        found = evaluate(self._copy, self.dataset, self.settings, final=True)
        step, epochs = self.engine.total, float(self.config.epochs)
        self.evaluations.append({"step": step, "epoch": epochs, **found})
        self.evaluation_seconds += time.perf_counter() - began
        records.write(record.compose(self, stored), self.paths.record.parent)
        self.paths.state.unlink(missing_ok=True)


def load_dataset(config: RunConfig, device: torch.device | str = "cpu") -> ViewDataset:
    """Return the data of a run, on a device.

    Raises
    ------
    ValueError
        If `vcreg_theory.datasets` has no such constructor.
    """
    constructor = getattr(datasets, config.dataset, None)
    if constructor is None:
        raise ValueError(f"dataset must be a constructor in datasets, got {config.dataset!r}")
    dataset: ViewDataset = constructor(**config.dataset_options, device=device)
    return dataset

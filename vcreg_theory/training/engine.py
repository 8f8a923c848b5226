"""The training loop without files: one step after another, in a state that can be stored."""

from typing import Any, cast

import torch
from torch import Tensor, nn

from .. import seeding
from ..datasets import ViewDataset
from . import distributed, methods, networks, schedule
from .config import RunConfig
from .metrics import Meter
from .objective import Objective


class Engine:
    """The networks, the optimiser and the randomness of a run, and how far it has come.

    No step waits for the device, so that a GPU is never idle between steps; the one exception are
    the set predictors, whose eigenvalues torch checks on the host.

    Parameters
    ----------
    config : RunConfig
        The run.
    dataset : ViewDataset
        Its data, on `device`.
    device : torch.device
        Where to train.
    world : distributed.World
        This process among those that train together. Every process draws the views of the whole
        batch and takes its rows, so that the result is that of one process.

    Raises
    ------
    ValueError
        If the data hold less than one batch, or a batch cannot be shared equally.
    """

    def __init__(
        self,
        config: RunConfig,
        dataset: ViewDataset,
        device: torch.device,
        world: distributed.World | None = None,
    ):
        self.config, self.dataset, self.device = config, dataset, device
        self.world = world or distributed.World()
        self.method = methods.get(config.method)
        self._check_sizes()
        self.epoch_steps = len(dataset) // config.batch_size
        self.total = config.epochs * self.epoch_steps if self.method.trains else 0
        self.warmup = round(config.warmup_epochs * self.epoch_steps)
        self.step = 0
        self.objective = self._make_objective()
        self.module: nn.Module = self.objective
        if self.total:
            self.module = distributed.wrap(self.objective, self.world, device)
            self.optimizer = _optimizer(config, self.objective, device)
        self.views = seeding.torch_generator(config.seed, "views", device)
        self.meter: Meter | None = None
        self._order: tuple[int, Tensor] | None = None

    def _check_sizes(self) -> None:
        batch, processes = self.config.batch_size, self.world.size
        if len(self.dataset) < batch:
            raise ValueError(
                f"the data must hold at least one batch of {batch}, got {len(self.dataset)} images"
            )
        if batch % processes:
            raise ValueError(f"batch_size must be a multiple of {processes} processes, got {batch}")

    def _make_objective(self) -> Objective:
        network = networks.build(self.config).to(self.device)
        width = (self.config.projector or (cast(int, network.encoder.out_features),))[-1]
        objective = Objective(
            network,
            self.method,
            loss_options=self.config.loss_options,
            width=width,
            joint_views=self.config.joint_views,
            seed=self.config.seed,
        )
        objective.to(self.device).train()
        if self.config.channels_last:
            # Documented, but in none of the overloads.
            objective.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.config.compile:
            for part in filter(None, (objective.network, objective.target)):
                part.encoder.compile()
        return objective

    def train_step(self) -> None:
        """Take one step and note its terms."""
        xa, xb = self._batch()
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate
        terms = self._terms(xa, xb)
        self.optimizer.zero_grad(set_to_none=True)
        terms.loss.backward()
        self.optimizer.step()
        self.objective.after_step(self.step, self.total)
        if self.meter is None:
            self.meter = Meter(terms._fields, self.device)
        self.meter.add(self.step, torch.stack(list(terms)))
        self.step += 1

    def _terms(self, xa: Tensor, xb: Tensor) -> Any:
        """Return the terms of two views; on the CPU the losses refuse embeddings with NaN."""
        try:
            with self._autocast():
                return self.module(xa, xb)
        except ValueError as error:
            if "finite" not in str(error):
                raise
            if self.meter is not None:
                self.meter.refuse_nonfinite()
            last = f"; the step before had {self.meter.last()}" if self.meter is not None else ""
            raise FloatingPointError(
                f"the embeddings are not finite at step {self.step}: {error}{last}"
            ) from error

    def _batch(self) -> tuple[Tensor, Tensor]:
        """Return two views of this process's share of the next batch."""
        epoch, index = divmod(self.step, self.epoch_steps)
        if self._order is None or self._order[0] != epoch:
            order = schedule.epoch_order(
                len(self.dataset), epoch, self.config.seed, self.dataset.train.images.device
            )
            self._order = epoch, order
        size = self.config.batch_size
        rows = self._order[1][index * size : (index + 1) * size]
        share = self.world.slice(size)
        xa, xb = (x[share] for x in self.dataset.two_views(rows, self.views))
        if self.config.channels_last:
            xa, xb = (x.contiguous(memory_format=torch.channels_last) for x in (xa, xb))
        return xa, xb

    def _autocast(self) -> torch.autocast:
        half = self.config.precision == "bfloat16"
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=half)

    @property
    def learning_rate(self) -> float:
        """The step size of the next step."""
        peak = self.config.learning_rate
        return schedule.learning_rate(self.step, self.total, peak, self.warmup)

    def read(self) -> dict[str, Any]:
        """Return where the run is and the means of its terms since the last reading.

        Raises
        ------
        FloatingPointError
            If the loss was not finite at some step.
        """
        assert self.meter is not None
        self.meter.refuse_nonfinite()
        return {"step": self.step, "epoch": self.step / self.epoch_steps, **self.meter.read()}

    def state_dict(self) -> dict[str, Any]:
        """Return all that the next steps depend on."""
        state: dict[str, Any] = {
            "step": self.step,
            "objective": self.objective.state_dict(),
            "views": self.views.get_state(),
        }
        if self.total:
            state["optimizer"] = self.optimizer.state_dict()
        if self.meter is not None:
            state["meter"] = {"names": list(self.meter.names), **self.meter.state_dict()}
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state, exactly as if the run had not stopped."""
        self.step = state["step"]
        self.objective.load_state_dict(state["objective"])
        self.views.set_state(state["views"])
        if self.total:
            self.optimizer.load_state_dict(state["optimizer"])
        if "meter" in state:
            self.meter = Meter(tuple(state["meter"]["names"]), self.device)
            self.meter.load_state_dict(state["meter"])


def _optimizer(config: RunConfig, module: nn.Module, device: torch.device) -> torch.optim.Optimizer:
    """Return the optimiser of a run; only matrices and kernels decay."""
    trained = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    options: dict[str, Any] = {"lr": config.learning_rate, "fused": device.type == "cuda"}
    if config.optimizer == "adam":
        return torch.optim.AdamW(groups, **options)
    return torch.optim.SGD(groups, momentum=0.9, nesterov=True, **options)

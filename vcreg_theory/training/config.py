"""The configuration of one training run: every choice that its result depends on."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from .. import validation
from . import methods

OPTIMIZERS = ("adam", "sgd")
PRECISIONS = ("float32", "bfloat16")
EXPORT_DTYPES = ("float16", "bfloat16", "float32")

# Enters every digest: raised when the same configuration would train another network.
REVISION = 1

Options = dict[str, Any]


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides the weights of one trained network.

    Parameters
    ----------
    suite, method : str
        The table the run belongs to, and a name that `methods.get` knows.
    seed : int
        Seed of weights, batches and views.
    dataset : str
        Name of a constructor in `vcreg_theory.datasets`, such as ``"digit_views"``.
    dataset_options : mapping
        Its keyword arguments, without the device.
    encoder : str
        Name of a constructor in `vcreg_theory.models`, such as ``"conv_encoder"``.
    encoder_options : mapping
        Its keyword arguments, without the seed.
    projector : tuple of int
        Widths after the encoder's output, the last one that of the embedding; empty for none.
    loss_options : mapping
        Keyword arguments that replace those of the method's loss.
    epochs : int
        Passes over the training images; zero keeps the initial weights.
    batch_size : int
        Images a step over all processes, each seen in two views; a last incomplete batch is left
        out.
    optimizer : {"adam", "sgd"}
        Adam with decoupled weight decay, or SGD with Nesterov momentum 0.9.
    learning_rate, weight_decay, warmup_epochs : float
        Peak step size, reached linearly and then decayed to zero along a cosine; weight decay acts
        on matrices and kernels, not on biases or normalisation.
    precision : {"float32", "bfloat16"}
        Precision of the networks' forward and backward pass; losses use float32.
    channels_last, compile : bool
        Memory layout of the images, and whether the encoder is compiled. Neither changes the
        function trained, only its rounding.
    joint_views : bool
        Whether both views pass the network as one batch. Batch normalisation then shares its
        statistics between views; one pass is faster on a GPU.
    evaluations : int
        Evaluations along training, at steps spaced evenly in their logarithm, with 0 and the end.
    evaluation_options : mapping
        Keyword arguments of `evaluation.Settings`.
    log_every : int
        Steps a line of metrics averages.
    export_dtype : {"float16", "bfloat16", "float32"}
        Precision of the stored weights.

    Raises
    ------
    ValueError
        If a value is out of range.

    Examples
    --------
    >>> config = RunConfig("tiny", "vicreg", projector=(64, 64))
    >>> config.key
    'tiny-vicreg-s0'
    >>> RunConfig.from_dict(config.to_dict()) == config
    True
    """

    suite: str
    method: str
    seed: int = 0
    dataset: str = "digit_views"
    dataset_options: Options = field(default_factory=dict)
    encoder: str = "conv_encoder"
    encoder_options: Options = field(default_factory=dict)
    projector: tuple[int, ...] = ()
    loss_options: Options = field(default_factory=dict)
    epochs: int = 1
    batch_size: int = 128
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    warmup_epochs: float = 0.0
    precision: str = "float32"
    channels_last: bool = False
    compile: bool = False
    joint_views: bool = False
    evaluations: int = 2
    evaluation_options: Options = field(default_factory=dict)
    log_every: int = 20
    export_dtype: str = "float16"

    def __post_init__(self) -> None:
        for name in ("suite", "method", "dataset", "encoder"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value.isidentifier():
                raise ValueError(f"{name} must be a name of letters, digits and _, got {value!r}")
        methods.get(self.method)
        self._check_numbers()
        validation.member("optimizer", self.optimizer, OPTIMIZERS)
        validation.member("precision", self.precision, PRECISIONS)
        validation.member("export_dtype", self.export_dtype, EXPORT_DTYPES)
        for name in ("channels_last", "compile", "joint_views"):
            validation.member(name, getattr(self, name), (True, False))
        for name, value in self._normalised().items():
            object.__setattr__(self, name, value)

    def _check_numbers(self) -> None:
        at_least = {"seed": 0, "epochs": 0, "batch_size": 2, "evaluations": 2, "log_every": 1}
        for name, low in at_least.items():
            validation.integer(name, getattr(self, name), at_least=low)
        validation.positive("learning_rate", self.learning_rate)
        validation.nonnegative("weight_decay", self.weight_decay)
        validation.nonnegative("warmup_epochs", self.warmup_epochs)
        if self.warmup_epochs >= max(self.epochs, 1):
            raise ValueError(
                f"warmup_epochs must be below the {self.epochs} epochs, got {self.warmup_epochs}"
            )
        for width in self.projector:
            validation.integer("projector", width, at_least=1)

    def _normalised(self) -> Options:
        """Return the compound fields as JSON would give them back, copied from the caller's."""
        plain: Options = {"projector": tuple(self.projector)}
        for name in ("dataset_options", "encoder_options", "loss_options", "evaluation_options"):
            plain[name] = json.loads(json.dumps(getattr(self, name)))
        return plain

    @property
    def key(self) -> str:
        """The name of the run: suite, method and seed."""
        return f"{self.suite}-{self.method}-s{self.seed}"

    def to_dict(self) -> Options:
        """Return the configuration as a dictionary that JSON can store."""
        return asdict(self) | {"projector": list(self.projector)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the configuration that `to_dict` described.

        Raises
        ------
        ValueError
            If a field is unknown.
        """
        unknown = set(values) - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(f"a configuration has no field {', '.join(sorted(unknown))}")
        return cls(**{**values, "projector": tuple(values.get("projector", ()))})

    def digest(self) -> str:
        """Return a sha256 of the configuration: equal for runs that train the same network."""
        content = json.dumps({"revision": REVISION, **self.to_dict()}, sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

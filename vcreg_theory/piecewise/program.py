"""A network as a straight-line program of piecewise-affine steps.

`lower` traces a module once and translates each layer; everything else in this package reads the
program and never the module. A layer that is not piecewise affine is refused by name here, so no
function downstream can return a map that does not exist.
"""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from .layers import BINARY, FUNCTIONS, LAYERS, not_affine, scaling, with_constant
from .steps import Pattern, Step, Sum


@dataclass(frozen=True)
class Program:
    """Steps in order of execution: value 0 is the input, value ``i + 1`` the output of step `i`.

    A program describes the model as it was when lowered: lower it again after further training.
    """

    steps: tuple[Step, ...]
    output: int

    def __call__(self, x: Tensor) -> Tensor:
        """Return the network's output."""
        return self.values(x)[self.output]

    def values(self, x: Tensor) -> list[Tensor]:
        """Return the input and the output of every step."""
        values = [x]
        for step in self.steps:
            values.append(step.forward(*self.reads(step, values)))
        return values

    def patterns(self, x: Tensor) -> list[Pattern]:
        """Return the pattern of every step at each input of the batch."""
        values = self.values(x)
        return [step.pattern(*self.reads(step, values)) for step in self.steps]

    def affine(self, x: Tensor, patterns: Sequence[Pattern]) -> Tensor:
        """Return the affine map of the given patterns at `x`, whatever the patterns at `x` are."""
        values = [x]
        for step, pattern in zip(self.steps, patterns, strict=True):
            values.append(step.affine(pattern, *self.reads(step, values)))
        return values[self.output]

    @staticmethod
    def reads(step: Step, values: Sequence[Tensor]) -> list[Tensor]:
        """Return the values that `step` reads."""
        return [values[i] for i in step.inputs]


def prune(steps: Sequence[Step], output: int) -> Program:
    """Return the program of the steps that `output` depends on, renumbered.

    A branch that is computed and dropped must not count as part of the activation pattern.
    """
    needed = {output}
    for index in reversed(range(len(steps))):
        if index + 1 in needed:
            needed.update(steps[index].inputs)
    place, kept = {0: 0}, []
    for index, step in enumerate(steps):
        if index + 1 in needed:
            kept.append(replace(step, inputs=tuple(place[v] for v in step.inputs)))
            place[index + 1] = len(kept)
    return Program(tuple(kept), place[output])


def lower(model: nn.Module | Program) -> Program:
    """Translate a piecewise-affine module into a `Program`.

    Parameters
    ----------
    model : nn.Module or Program
        A network made of affine layers, (leaky) ReLU, max-pooling and sums. BatchNorm and Dropout
        must be in evaluation mode. A program is returned as it is.

    Returns
    -------
    Program

    Raises
    ------
    TypeError
        If a layer is not piecewise affine, or depends on the batch or on chance; the message names
        the layer.

    Examples
    --------
    >>> program = lower(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)))
    >>> [step.name for step in program.steps]
    ['0', '1', '2']
    >>> lower(nn.Sequential(nn.Linear(2, 2), nn.GELU()))
    Traceback (most recent call last):
    ...
    TypeError: layer '1' (GELU) is not piecewise affine; allowed are Linear, ...
    """
    if isinstance(model, Program):
        return model
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    return _Lowering(model).run()


_IN_PLACE = (operator.iadd, operator.isub, operator.imul, operator.itruediv)


class _Proxy(fx.Proxy):
    """A traced value that records ``y += z``, which fx itself takes for ``y = y + z``."""

    def _assign(self, function: Callable[..., Any], other: object) -> Any:
        return self.tracer.create_proxy("call_function", function, (self, other), {})

    def __iadd__(self, other: object) -> Any:
        return self._assign(operator.iadd, other)

    def __isub__(self, other: object) -> Any:
        return self._assign(operator.isub, other)

    def __imul__(self, other: object) -> Any:
        return self._assign(operator.imul, other)

    def __itruediv__(self, other: object) -> Any:
        return self._assign(operator.itruediv, other)


class _Tracer(fx.Tracer):
    """Tracing in which another name of a value that is changed in place is noticed."""

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Proxy(node, self)


class _Lowering:
    """One pass over the traced graph: each node becomes a value, a constant or a new step."""

    def __init__(self, model: nn.Module):
        self.model = model
        self.modules = dict(model.named_modules())
        self.steps: list[Step] = []
        self.known: dict[fx.Node, Any] = {}  # value index (int) or constant (Tensor)
        self.overwritten: dict[int, str] = {}  # values destroyed by a layer that works in place

    def run(self) -> Program:
        for node in self._trace().nodes:
            if node.op == "output":
                return prune(self.steps, self._value(node.args[0], node))
            self.known[node] = getattr(self, node.op)(node)
        raise TypeError("model has no output")

    def _trace(self) -> fx.Graph:
        # A traced leaf such as nn.Linear would otherwise be opened up when it is the model itself.
        root = self.model
        if root.__module__.startswith("torch.nn") and not isinstance(root, nn.Sequential):
            root = nn.Sequential(root)
            self.modules = {"0": self.model, **{f"0.{k}": m for k, m in self.modules.items() if k}}
            self.model = root
        try:
            return _Tracer().trace(root)
        except (fx.proxy.TraceError, TypeError, ValueError, RuntimeError) as error:
            raise TypeError(
                f"model {type(self.model).__name__} cannot be traced into a fixed sequence of "
                f"layers (its forward branches on data or takes several inputs): {error}"
            ) from error

    def placeholder(self, node: fx.Node) -> object:
        if 0 in self.known.values():
            if node.args:  # a further argument with a default
                return _scalar(node.args[0])
            raise TypeError("model must take one input; its forward takes several")
        return 0

    def get_attr(self, node: fx.Node) -> Tensor:
        value: Tensor = operator.attrgetter(str(node.target))(self.model)
        return value.detach()

    def call_module(self, node: fx.Node) -> int:
        name = str(node.target)
        return self._layer(name, self.modules[name], node)

    def call_function(self, node: fx.Node) -> object:
        name = getattr(node.target, "__name__", str(node.target))
        if node.target in BINARY:
            return self._binary(BINARY[node.target], node)
        return self._call(name, node)

    def call_method(self, node: fx.Node) -> object:
        if node.target in ("add", "sub", "mul", "div", "neg"):
            return self._binary(str(node.target), node)
        return self._call(str(node.target), node)

    def _layer(self, name: str, module: nn.Module, node: fx.Node) -> int:
        source = self._value(_first_argument(node), node)
        for kinds, build in LAYERS:
            if isinstance(module, kinds):
                step = build(name, (source,), module)
                if step is None:
                    return source
                if getattr(module, "inplace", False):
                    self.overwritten[source] = name
                return self._add(step)
        raise not_affine(name, type(module).__name__)

    def _call(self, name: str, node: fx.Node) -> object:
        build = FUNCTIONS.get(name)
        if build is None:
            raise not_affine(node.name, name)
        if not isinstance(_first_argument(node), fx.Node):
            raise not_affine(node.name, name)
        options = {key: value for key, value in node.kwargs.items() if key != "input"}
        module = build(*[self._constant(a) for a in node.args[1:]], **options)
        return self._layer(node.name, module, node)

    def _binary(self, kind: str, node: fx.Node) -> object:
        a, b = ([self._operand(arg) for arg in node.args] + [None])[:2]
        if node.kwargs:
            raise not_affine(node.name, f"{kind} with {', '.join(node.kwargs)}")
        values = [isinstance(v, int) and not isinstance(v, bool) for v in (a, b)]
        if node.target in _IN_PLACE and values[0]:
            self.overwritten[a] = node.name
        if kind == "neg":
            return self._add(scaling(node.name, a, -1.0, 0.0))
        if all(values):
            if kind not in ("add", "sub"):
                raise not_affine(node.name, f"product or ratio of two values ({kind})")
            return self._add(Sum(node.name, (a, b), (1.0, 1.0 if kind == "add" else -1.0)))
        if not any(values):
            raise not_affine(node.name, f"{kind} of constants")
        return self._add(with_constant(kind, node.name, a, b, first=values[0]))

    def _operand(self, arg: object) -> Any:
        """Return a value index (int) or a constant wrapped so that it cannot look like one."""
        if isinstance(arg, fx.Node) and isinstance(self.known[arg], int):
            return self._read(self.known[arg])
        return _scalar(self._constant(arg))

    def _constant(self, arg: object) -> Any:
        return self.known[arg] if isinstance(arg, fx.Node) else arg

    def _value(self, arg: object, node: fx.Node) -> int:
        value = self._constant(arg)
        if not isinstance(arg, fx.Node) or not isinstance(value, int):
            raise TypeError(f"'{node.name}' must read one tensor that depends on the input")
        return self._read(value)

    def _read(self, value: int) -> int:
        if value in self.overwritten:
            raise TypeError(
                f"layer '{self.overwritten[value]}' works in place on a value that is read again "
                "later; set inplace=False there (in a sum, write a = a + b for a += b)"
            )
        return value

    def _add(self, step: Step) -> int:
        self.steps.append(step)
        return len(self.steps)


def _first_argument(node: fx.Node) -> object:
    """Return what a layer is called on, given by position or as ``input=``."""
    return node.args[0] if node.args else node.kwargs.get("input")


def _scalar(value: object) -> object:
    """Return a Python number as a double-precision constant; others as they are."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return torch.tensor(value, dtype=torch.float64)
    return value

"""Losses whose gradient is computed together with their value."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from ._inputs import full_precision

Values = tuple[Tensor, ...]
Plain = Callable[..., Values]
Fast = Callable[..., tuple[Values, Values]]


def fused(fast: Fast, plain: Plain, *inputs: Tensor) -> Values:
    """Return ``plain(*inputs)``, computed by `fast` where a gradient will be asked for.

    `plain` gives the loss and its terms with operations that autograd records. `fast` gives the
    same values and the gradients of the first of them, the loss, with respect to the inputs. A
    backward pass that starts at the loss scales these gradients and hands them on. One that starts
    at a term, or that is itself to be differentiated, evaluates `plain` again and differentiates
    it: all derivatives of all values are right, and only the usual one is fast.
    """
    with full_precision(inputs[0]):
        if torch.is_grad_enabled() and any(z.requires_grad for z in inputs):
            apply: Callable[..., Values] = _Fused.apply
            return apply(fast, plain, *inputs)[: -len(inputs)]
        return plain(*inputs)


class _Fused(Function):
    """Outputs: the values, then the gradients of the first one, which carry no derivative."""

    @staticmethod
    def forward(fast: Fast, plain: Plain, *inputs: Tensor) -> Values:
        values, gradients = fast(*inputs)
        return (*values, *gradients)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Values) -> None:
        ctx.fast, ctx.plain, *tensors = inputs
        ctx.gradients = output[-len(tensors) :]
        ctx.mark_non_differentiable(*ctx.gradients)
        ctx.save_for_backward(*tensors)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor | None) -> tuple[Tensor | None, ...]:
        inputs = ctx.saved_tensors
        loss, *terms = upstream[: -len(inputs)]
        if torch.is_grad_enabled() or loss is None or any(g is not None for g in terms):
            return None, None, *_differentiate(ctx, inputs, (loss, *terms))
        # Scaled in place and given away: fresh memory for a copy would cost more than the rest of
        # this pass. Another one through a retained graph computes the same numbers again.
        gradients, ctx.gradients = ctx.gradients, None
        if gradients is None:
            with full_precision(inputs[0]):
                _, gradients = ctx.fast(*inputs)
        return None, None, *(g.mul_(loss) for g in gradients)


def _differentiate(
    ctx: Any, inputs: Sequence[Tensor], upstream: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """Return the gradients of `ctx.plain`, themselves differentiable if autograd records now."""
    record = torch.is_grad_enabled()
    needed = ctx.needs_input_grad[2:]
    if not record:
        inputs = [z.detach().requires_grad_(need) for z, need in zip(inputs, needed, strict=True)]
    with torch.enable_grad(), full_precision(inputs[0]):
        values = ctx.plain(*inputs)
        pairs = [(v, g) for v, g in zip(values, upstream, strict=True) if g is not None]
        if not pairs:
            return [None] * len(inputs)
        found = torch.autograd.grad(
            [v for v, _ in pairs],
            [z for z, need in zip(inputs, needed, strict=True) if need],
            [g for _, g in pairs],
            create_graph=record,
            allow_unused=True,
        )
    remaining = iter(found)
    return [next(remaining) if need else None for need in needed]

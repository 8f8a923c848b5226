"""Anderson acceleration of a fixed-point iteration."""

import torch
from torch import Tensor


class Anderson:
    """Extrapolate the last steps so that their least-squares combination leaves no residual.

    Gauss-Newton treats the pairs of sources as if they did not interact. At few samples they do,
    and plain iteration then converges slowly or not at all.
    """

    def __init__(self, memory: int = 5):
        self.memory = memory
        self.points: list[Tensor] = []
        self.steps: list[Tensor] = []

    def __call__(self, point: Tensor, step: Tensor) -> Tensor:
        """Return the next point, given the plain step from `point`."""
        self.points = [*self.points, point][-self.memory - 1 :]
        self.steps = [*self.steps, step][-self.memory - 1 :]
        if len(self.steps) == 1:
            return point + step
        changes = torch.stack(self.steps).flatten(1).diff(dim=0)
        moves = torch.stack(self.points).flatten(1).diff(dim=0)
        # The normal equations of at most five columns; the ridge keeps parallel steps harmless.
        gram = changes @ changes.T
        gram.diagonal().add_(1e-10 * gram.diagonal().sum())
        weights, failed = torch.linalg.solve_ex(gram, changes @ step.flatten())
        if bool(failed) or not bool(torch.isfinite(weights).all()):  # all stored steps are one
            self.points, self.steps = [point], [step]
            return point + step
        excess: Tensor = weights @ (moves + changes)
        return point + step - excess.view_as(step)

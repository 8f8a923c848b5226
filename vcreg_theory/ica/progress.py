"""The count of iterations, its limit and its display."""

from types import TracebackType


class Progress:
    """Count steps up to a limit; show them, with their size, in a bar if wanted."""

    def __init__(self, limit: int, visible: bool):
        self.limit, self.count, self.size = limit, 0, float("inf")
        self._bar = None
        if visible:
            from tqdm import tqdm

            self._bar = tqdm(total=limit, desc="VCRegICA", unit="step")

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    @property
    def exhausted(self) -> bool:
        """Whether the limit is reached."""
        return self.count >= self.limit

    @property
    def halfway(self) -> bool:
        """Whether half of the limit is reached."""
        return 2 * self.count >= self.limit

    def step(self, size: float) -> bool:
        """Count one step of a size; return whether it was the last one allowed."""
        self.count, self.size = self.count + 1, size
        if self._bar is not None:
            self._bar.set_postfix(step=f"{size:.1e}", refresh=False)
            self._bar.update()
        return self.exhausted

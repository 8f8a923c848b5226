"""How fast a run is, and what share of the device's speed that is."""

import platform
import time
from pathlib import Path
from typing import Any

import torch

_PEAK_SIZE = 8192
_PEAK_REPEATS = 20


class Stopwatch:
    """Seconds of training and images seen in them, without evaluation, storing and warm-up.

    The first interval of a session is left out of the speed: it holds compilation and the first
    use of every kernel.

    Examples
    --------
    >>> watch = Stopwatch()
    >>> watch.start()
    >>> watch.lap(100)
    >>> watch.images_per_second is None  # the first interval does not count
    True
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._timed_seconds = 0.0
        self._timed_images = 0
        self._started: float | None = None
        self._is_warm = False

    def start(self) -> None:
        """Begin an interval of training."""
        self._started = time.perf_counter()

    def lap(self, images: int) -> None:
        """End an interval in which `images` images were seen, and begin the next one."""
        if self._started is None:
            raise RuntimeError("lap() needs start() first")
        now = time.perf_counter()
        elapsed = now - self._started
        self._started = now
        self.seconds += elapsed
        if self._is_warm:
            self._timed_seconds += elapsed
            self._timed_images += images
        self._is_warm = self._is_warm or images > 0

    @property
    def images_per_second(self) -> float | None:
        """Images a second, each in two views; None before the second interval."""
        return self._timed_images / self._timed_seconds if self._timed_images else None

    def state_dict(self) -> dict[str, Any]:
        """Return the sums."""
        return {
            "seconds": self.seconds,
            "timed_seconds": self._timed_seconds,
            "timed_images": self._timed_images,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from the sums of an earlier session."""
        self.seconds = state["seconds"]
        self._timed_seconds, self._timed_images = state["timed_seconds"], state["timed_images"]


def describe_device(device: torch.device) -> str:
    """Return the device in words, for a record.

    Examples
    --------
    >>> describe_device(torch.device("cpu")).startswith("cpu (")
    True
    """
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    threads = torch.get_num_threads()
    return f"{device.type} ({_processor()}, {threads} thread{'s' if threads > 1 else ''})"


def _processor() -> str:
    """Return the processor's name."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def matmul_peak(device: torch.device, dtype: torch.dtype = torch.bfloat16) -> float:
    """Return the floating-point operations a second of a large matrix product on a CUDA device."""
    with torch.cuda.device(device):  # events belong to the current device
        return _time_products(device, dtype)


def _time_products(device: torch.device, dtype: torch.dtype) -> float:
    a, b = (torch.randn(_PEAK_SIZE, _PEAK_SIZE, device=device, dtype=dtype) for _ in range(2))
    for _ in range(3):
        a @ b
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(_PEAK_REPEATS):
        a @ b
    end.record()
    end.synchronize()
    seconds: float = start.elapsed_time(end) / 1e3
    return _PEAK_REPEATS * 2 * _PEAK_SIZE**3 / seconds

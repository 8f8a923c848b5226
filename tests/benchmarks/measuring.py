"""How the benchmarks measure time and memory, so that all of them mean the same by a figure."""

import ctypes
import statistics
import time
from collections.abc import Callable
from pathlib import Path

Call = Callable[[], object]


def cpu_seconds(rounds: int, *functions: Call) -> list[float]:
    """Return the median CPU time of each function, their rounds interleaved."""
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(rounds + 1):
        for into, function in zip(times, functions, strict=True):
            start = time.process_time()
            function()
            into.append(time.process_time() - start)
    return [statistics.median(t[1:]) for t in times]  # the first round warms up


def named_cpu_seconds(rounds: int, **functions: Call) -> dict[str, float]:
    """Return `cpu_seconds` under the name of each function."""
    return dict(zip(functions, cpu_seconds(rounds, *functions.values()), strict=True))


def peak_mib(function: Call, *, warm_up: bool = True) -> float | None:
    """Return how far `function` raises this process's resident memory; None off Linux."""

    def resident(key: str) -> float:
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(key)).split()[1]) / 1024

    try:
        if warm_up:
            function()
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # else freed pages would hide what is used anew
        before = resident("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
    except OSError:
        return None
    function()
    return resident("VmHWM") - before

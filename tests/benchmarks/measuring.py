"""How the benchmarks measure time and memory, so that all of them mean the same by a figure."""

import ctypes
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import threadpoolctl
import torch

Call = Callable[[], object]
Clock = Callable[[], float]
Samples = list[float]

VERSIONS = ("torch", "numpy", "scipy", "scikit-learn", "hyppo", "kornia", "python-picard")


def cpu_rounds(
    rounds: int, functions: dict[str, Call], *, clock: Clock = time.process_time
) -> dict[str, Samples]:
    """Return the CPU seconds of each function in each round; in a round all take turns.

    A first round, which warms up, is not among them.
    """
    times: dict[str, Samples] = {name: [] for name in functions}
    for _ in range(rounds + 1):
        for name, function in functions.items():
            start = clock()
            function()
            times[name].append(clock() - start)
    return {name: seconds[1:] for name, seconds in times.items()}


def median(samples: Samples) -> float:
    """Return the median as a float."""
    return float(statistics.median(samples))


def quickest(samples: dict[str, Samples]) -> str:
    """Return the name of the function with the smallest median."""
    return min(samples, key=lambda name: median(samples[name]))


def scaled(samples: Samples, factor: float) -> Samples:
    """Return the samples times a factor, as where a part of a loop stands for all of it."""
    return [factor * seconds for seconds in samples]


def seconds_of_children() -> float:
    """Return the CPU time of the processes that this one has started and waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


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


def load_average() -> float:
    """Return how many processes wanted a core in the last minute."""
    return os.getloadavg()[0]


def processor() -> str:
    """Return the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line for line in lines if line.startswith("model name")).split(":")[1].strip()
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def machine() -> dict[str, object]:
    """Return on what, and with which versions, this process measures."""
    pools = [pool["num_threads"] for pool in threadpoolctl.threadpool_info()]
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": max(torch.get_num_threads(), *pools),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "system": platform.system(),
        "versions": {"python": platform.python_version()} | {p: version(p) for p in VERSIONS},
    }

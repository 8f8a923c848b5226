"""One table of all benchmarks; a ratio that regressed against the stored one fails the run."""

import measuring
import pytest
import results
import threadpoolctl
import torch

FOUND = pytest.StashKey[results.Results]()
STORED = pytest.StashKey[dict]()


def pytest_addoption(parser):
    group = parser.getgroup("benchmarks of this book")
    group.addoption("--store", action="store_true", help="store the ratios in data/benchmarks.json")
    group.addoption("--rounds", type=int, help="take no more rounds than this: quick, but rough")


def pytest_configure(config):
    config.stash[FOUND], config.stash[STORED] = results.Results(), results.load()


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Measure at one thread, whatever library does the work."""
    torch.set_num_threads(1)
    threadpoolctl.threadpool_limits(1)


@pytest.fixture
def found(request):
    """Return where a benchmark notes its figures."""
    collected = request.config.stash[FOUND]
    collected.group = request.module.__name__.removeprefix("test_")
    return collected


@pytest.fixture
def cpu_rounds(request):
    """Return `measuring.cpu_rounds`, with at most as many rounds as the command line allows."""
    most = request.config.getoption("--rounds")

    def run(rounds, functions, **options):
        return measuring.cpu_rounds(min(rounds, most or rounds), functions, **options)

    return run


def is_partial(config):
    """Return whether the command line selected some of the benchmarks."""
    named = any("::" in argument or argument.endswith(".py") for argument in config.args)
    return bool(named or config.getoption("keyword") or config.getoption("--lf"))


def pytest_sessionfinish(session, exitstatus):
    config, figures = session.config, session.config.stash[FOUND]
    if exitstatus == 0 and config.getoption("--store"):
        results.store(figures, partial=is_partial(config))
    elif exitstatus == 0 and figures.failures(config.stash[STORED]):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter, exitstatus, config):
    figures, stored = config.stash[FOUND], config.stash[STORED]
    for line in figures.tables(stored):
        terminalreporter.write_line(line)
    failures = figures.failures(stored)
    doubts = results.doubts(stored) if failures else []
    for title, lines in (
        ("goals not reached", figures.missed()),
        ("regressions", [*failures, *doubts]),
    ):
        for line in [f"\n{title}", *lines] if lines else ():
            terminalreporter.write_line(line)
    if config.getoption("--store"):
        done = "stored in data/benchmarks.json" if exitstatus == 0 else "not stored: a test failed"
        terminalreporter.write_line(f"\n{done}")

"""The runner of one chapter: what it reports, refuses and writes."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

PARAMETERS = """\
# A chapter

```{code-cell} ipython3
:tags: [parameters]

profile = "quick"
seed = 0
```
"""
CELL = "\n```{code-cell} ipython3\n%s\n```\n"
FIGURE = """\
import matplotlib.pyplot as plt
from IPython.display import display

print(profile, seed)
plt.plot([0, seed])
plt.show()
display({"application/vnd.vcreg.check+json": {"seconds": id(plt)}}, raw=True)"""


@pytest.fixture
def start(root, tmp_path, write_chapter):
    """Return a function that starts the runner on a chapter made of the given cells."""

    def begin(*cells, arguments=(), name="chapter"):
        chapter = tmp_path / "chapter.md"
        write_chapter(chapter, PARAMETERS + "".join(CELL % cell for cell in cells))
        output = tmp_path / f"{name}.ipynb"
        output.write_text("stale")
        command = [sys.executable, str(root / "tools" / "execute.py"), str(chapter), str(output)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen([*command, *arguments], cwd=tmp_path, **pipes), output

    return begin


def finish(started):
    """Return the exit status, what was written to stderr and the output file."""
    process, output = started
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors, output


def test_execute__failed_assertion_names_the_line_of_the_chapter(start):
    status, errors, output = finish(start('print("before")\nassert seed == 1, "seed is not one"'))
    assert status == 1
    assert errors.startswith("chapter.md:23: AssertionError: seed is not one\n")
    assert '>   23 | assert seed == 1, "seed is not one"' in errors
    assert "what it printed:\nbefore\n" in errors
    assert "traceback:" in errors and "\x1b" not in errors
    assert not output.exists()
    assert output.with_suffix(".error.txt").read_text() == errors.removesuffix("\n")


def test_execute__sys_exit_fails(start):
    status, errors, output = finish(start("import sys\nsys.exit(0)", "print('never')"))
    assert status == 1
    assert errors.startswith("chapter.md:22: SystemExit")
    assert not output.exists()


def test_execute__unknown_parameter_is_refused_with_the_known_ones(start):
    status, errors, _ = finish(start("pass", arguments=["-p", "sede", "3"]))
    assert status == 1
    assert errors == "unknown parameter sede; this chapter's parameters: profile, seed\n"


def test_execute__endless_cell_ends_with_the_budget(start):
    status, errors, _ = finish(start("while True:\n    pass", arguments=["--budget", "3"]))
    assert status == 1
    assert errors.startswith("chapter.md:22: the chapter went over its 3 s")


def test_execute__two_runs_write_the_same_bytes(start):
    given = ["-p", "seed", "7", "--profile", "full"]
    runs = [start(FIGURE, arguments=given, name=name) for name in ("first", "second")]
    results = [finish(run) for run in runs]
    assert [status for status, _, _ in results] == [0, 0], results[0][1]
    first, second = (output.read_bytes() for _, _, output in results)
    assert first == second
    cells = json.loads(first)["cells"]
    assert cells[3]["outputs"][0]["text"] == ["full 7\n"]
    assert "image/svg+xml" in cells[3]["outputs"][1]["data"]
    assert [cell["id"] for cell in cells] == ["c000", "c001", "c002", "c003"]


def test_execute__interrupt_leaves_no_kernel(start):
    numbers = (signal.SIGINT, signal.SIGTERM)
    runs = [start("import time\ntime.sleep(60)", name=number.name) for number in numbers]
    for number, (process, output) in zip(numbers, runs, strict=True):
        kernels = wait_for_children(process.pid)
        os.kill(process.pid, number)
        process.communicate(timeout=20)
        assert process.returncode == 128 + number
        assert not output.exists()
        _, alive = psutil.wait_procs(kernels, timeout=5)
        assert not alive


def wait_for_children(pid):
    """Return the child processes of ``pid`` once there are some."""
    for _ in range(200):
        if children := psutil.Process(pid).children(recursive=True):
            return children
        time.sleep(0.1)
    raise TimeoutError("no kernel was started")

"""Execute one chapter: ``book/chapters/x.md`` becomes an executed ``x.ipynb``.

jupytext reads the chapter and papermill runs it. This script adds what their command lines lack:
errors that name the line of the ``.md`` file, a kernel that depends on nothing installed by the
user, one time budget for the whole chapter, refusal of unknown parameters, failure on
``sys.exit()``, and an output whose bytes are the same on every run.
"""

import argparse
import ast
import hashlib
import logging
import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

import nbformat
import papermill
import psutil
from failure import report
from jupytext.myst import myst_to_notebook
from kernel import fix_environment, kernel_manager, short_folder
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.exceptions import PapermillExecutionError

ROOT = Path(__file__).resolve().parents[1]
CHECK = "application/vnd.vcreg.check+json"  # not imported: it would load torch
BUDGET = {"quick": 600, "full": 7200}  # seconds, several times what a chapter may take
HEARTBEAT = 10.0  # seconds between two progress lines


class Progress:
    """Count executed cells, say so from time to time, and hold the time budget."""

    def __init__(self, name, total, budget):
        self.name, self.total, self.budget = name, total, budget
        self.done, self.cell = 0, None
        self.started = time.monotonic()
        threading.Thread(target=self._beat, daemon=True).start()

    def _beat(self):
        while True:
            time.sleep(HEARTBEAT)
            self.say()

    def say(self, note=""):
        """Print one whole line at once, so that parallel chapters never mix within a line."""
        sys.stdout.write(f"{self.name}  {self.done}/{self.total} cells{note}\n")
        sys.stdout.flush()

    def begin(self, cell, cell_index):
        self.cell = cell

    def finish(self, cell, cell_index, execute_reply):
        self.done += 1

    def seconds(self):
        return time.monotonic() - self.started

    def remaining(self, cell):
        return max(1, round(self.budget - self.seconds()))


def read_chapter(path):
    """Read a chapter as a notebook whose cells know the line they came from."""
    text = path.read_text(encoding="utf-8")
    notebook = myst_to_notebook(text, add_source_map=True)
    notebook.metadata.pop("jupytext", None)
    for cell, line in zip(notebook.cells, notebook.metadata.pop("source_map"), strict=True):
        cell.metadata["source_line"] = line
    notebook.metadata["vcreg"] = {"source_sha256": hashlib.sha256(text.encode()).hexdigest()}
    return notebook


def literal(text):
    """Return the Python value that ``text`` spells, else ``text`` itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def default_parameters(notebook):
    """Return the names and values that the cell tagged ``parameters`` assigns."""
    cells = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    values = {}
    for node in ast.parse("\n".join(cell.source for cell in cells)).body:
        for target in getattr(node, "targets", [getattr(node, "target", None)]):
            if isinstance(target, ast.Name) and node.value is not None:
                values[target.id] = literal(ast.unparse(node.value))
    return values


def chosen_parameters(given, profile, defaults):
    """Return the parameters that differ from the chapter's own; refuse unknown names."""
    if unknown := sorted(set(given) - set(defaults)):
        known = ", ".join(defaults) or "none"
        sys.exit(f"unknown parameter {', '.join(unknown)}; this chapter's parameters: {known}")
    wanted = {"profile": profile, **given} if "profile" in defaults else given
    return {name: value for name, value in wanted.items() if defaults[name] != value}


def run(notebook, parameters, progress):
    """Run the notebook in a fresh kernel and leave no process behind."""
    with tempfile.TemporaryDirectory(prefix="book-", dir=short_folder()) as folder:
        try:
            return papermill.execute_notebook(
                notebook,
                None,
                parameters,
                kernel_name="python3",
                language="python",
                progress_bar=False,
                cwd=ROOT / "book" / "chapters",  # where Jupyter Lab would run it
                km=kernel_manager(folder),
                coalesce_streams=True,
                timeout_func=progress.remaining,
                on_cell_execute=progress.begin,
                on_cell_executed=progress.finish,
            )
        finally:  # an interrupted kernel has its own session and may be deaf: kill it
            for process in psutil.Process().children(recursive=True):
                process.kill()


def unfinished(notebook):
    """Return the last cell that ran if some did not, as after ``sys.exit()``; else None."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    ended = [c for c in code if any(o.output_type == "error" for o in c.outputs)]
    ran = [cell for cell in code if cell.execution_count is not None]
    return ended[0] if ended else (ran or code)[-1] if len(ran) < len(code) else None


def clean(notebook):
    """Remove what differs between two runs: times, paths, random ids."""
    lines = []
    notebook.metadata.pop("papermill", None)
    for index, cell in enumerate(notebook.cells):
        cell.id = f"c{index:03d}"
        for key in ("papermill", "execution", *([] if cell.metadata.get("tags") else ["tags"])):
            cell.metadata.pop(key, None)
        lines.append(cell.metadata.pop("source_line", lines[-1] if lines else 0))
        for output in cell.get("outputs", []):
            if CHECK in output.get("data", {}):
                output.data[CHECK]["seconds"] = None
    notebook.metadata["source_map"] = lines


def execute(chapter, output, given, profile, budget):
    """Execute ``chapter`` into ``output``; return the report of its failure, or ''."""
    notebook = read_chapter(chapter)
    parameters = chosen_parameters(given, profile, default_parameters(notebook))
    cells = sum(cell.cell_type == "code" for cell in notebook.cells) + bool(parameters)
    progress = Progress(chapter.stem, cells, budget)
    shown = os.path.relpath(chapter)
    try:
        notebook = run(notebook, parameters, progress)
    except PapermillExecutionError as error:
        headline = f"{error.ename}: {error.evalue}"
        return report(chapter, shown, progress.cell, headline, "\n".join(error.traceback))
    except CellTimeoutError:
        return report(chapter, shown, progress.cell, f"the chapter went over its {budget:g} s")
    except DeadKernelError:
        return report(chapter, shown, progress.cell, "the kernel died (killed, or out of memory)")
    except RuntimeError as error:
        if progress.cell is not None:
            raise
        return report(chapter, shown, None, f"the kernel did not start: {error}")
    if (cell := unfinished(notebook)) is not None:
        return report(chapter, shown, cell, "SystemExit: the chapter stopped before its end")
    clean(notebook)
    partial = output.with_suffix(".partial")
    nbformat.write(notebook, partial)
    os.replace(partial, output)
    progress.say(f", {progress.seconds():.0f} s")
    return ""


def arguments():
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("chapter", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
    parser.add_argument("--profile", choices=BUDGET, default="quick")
    parser.add_argument("--budget", type=float, help="seconds for the whole chapter")
    return parser.parse_args()


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # runs the clean-up, as Ctrl-C does
    options = arguments()
    options.output.parent.mkdir(parents=True, exist_ok=True)
    log = options.output.with_suffix(".error.txt")
    for old in (options.output, log):  # a chapter that fails leaves no old result behind
        old.unlink(missing_ok=True)
    fix_environment(ROOT / "_build")
    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # it logs what is reported below
    given = {name: literal(value) for name, value in options.p}
    budget = options.budget or BUDGET[options.profile]
    error = execute(options.chapter, options.output, given, options.profile, budget)
    if error:
        log.write_text(error, encoding="utf-8")
        sys.exit(error)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)

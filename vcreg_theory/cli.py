"""The command line: ``train`` a suite, ``evaluate`` a record, ``cite`` or ``study``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

FINISHED, FAILED, UNFINISHED = 0, 1, 3

# What only training and evaluation need, which the package itself does not require.
_EXTRAS = ("sklearn", "PIL")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line.

    Examples
    --------
    >>> arguments = parser().parse_args(["train", "digits", "--seeds", "0,1"])
    >>> arguments.suite, arguments.seeds
    ('digits', [0, 1])
    """
    top = argparse.ArgumentParser(
        prog="python -m vcreg_theory", description="Train, check and cite what the book is made of."
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_train(commands.add_parser("train", help="run the rows of a suite that have no record yet"))
    _add_evaluate(commands.add_parser("evaluate", help="compare a record with its weights"))
    _add_cite(commands.add_parser("cite", help="print BibTeX for the claims that you used"))
    _add_study(commands.add_parser("study", help="run the rows of a study that are missing"))
    return top


def _add_train(train: argparse.ArgumentParser) -> None:
    train.description = (
        "Run the rows of a suite that have no record yet, in order of priority. Interrupted rows "
        "go on where they stopped. Exit status: 0 all rows finished, 1 a row failed, 3 rows are "
        "left for another call."
    )
    train.add_argument("suite", metavar="SUITE", help="digits, scenes, cifar10, ...")
    train.add_argument("--budget", type=float, metavar="SECONDS", help="stop after this time")
    train.add_argument("--only", type=_names, metavar="METHOD[,METHOD]", help="these methods")
    train.add_argument("--seeds", type=_integers, metavar="N[,N]", help="these seeds")
    train.add_argument(
        "--out", type=Path, default=Path("runs"), metavar="DIR", help="default: runs"
    )
    train.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, ... (default: auto)")
    train.add_argument("--jobs", type=int, default=1, metavar="N", help="rows at the same time")
    train.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="threads of a row (default: 1 with several jobs, else torch's)",
    )
    train.add_argument("--list", action="store_true", help="list the rows and how far they are")
    train.add_argument("--quiet", action="store_true", help="no progress")


def _add_evaluate(evaluate: argparse.ArgumentParser) -> None:
    evaluate.description = (
        "Evaluate the weights of a record again and compare all its figures. Exit status: 0 if "
        "none is further away than the tolerance, else 1."
    )
    evaluate.add_argument("record", type=Path, metavar="RECORD", help="a records/*.json file")
    evaluate.add_argument("--device", default="auto", help="cpu, cuda, ... (default: auto)")
    evaluate.add_argument(
        "--threads", type=int, metavar="N", help="default: the record's, else torch's"
    )
    evaluate.add_argument(
        "--tolerance",
        type=float,
        default=0.0,
        help="largest relative difference (default: 0, right for the device of the record)",
    )


def _add_cite(cite: argparse.ArgumentParser) -> None:
    cite.description = (
        "Print BibTeX entries for this book and for the works that the given claims rest on."
    )
    cite.add_argument(
        "names",
        nargs="+",
        metavar="NAME",
        help="a claim (B2.b), a part (B2), or a module or function (density.exit_probability)",
    )


def _add_study(study: argparse.ArgumentParser) -> None:
    study.description = (
        "Run the rows that the file of a study does not hold yet, each with one thread. The file "
        "is replaced after each row. Exit status: 0 all rows finished, 3 rows are left."
    )
    study.add_argument("study", metavar="STUDY", help="projectors or transfer")
    study.add_argument("--budget", type=float, metavar="SECONDS", help="begin no row after this")
    study.add_argument("--only", type=_names, metavar="CELL[,CELL]", help="these cells")
    study.add_argument("--seeds", type=_integers, metavar="N[,N]", help="these seeds")
    study.add_argument(
        "--out",
        type=Path,
        default=Path("runs/studies"),
        metavar="DIR",
        help="default: runs/studies",
    )
    study.add_argument("--list", action="store_true", help="list the cells")
    study.add_argument("--quiet", action="store_true", help="no progress")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _integers(text: str) -> list[int]:
    return [int(name) for name in _names(text)]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments, by default those of the process.

    Returns
    -------
    int
    """
    arguments = parser().parse_args(argv)
    commands = {"train": _train, "evaluate": _evaluate, "cite": _cite, "study": _study}
    command = commands[arguments.command]
    try:
        return command(arguments)
    except (ValueError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    except ModuleNotFoundError as error:
        if not _hint(str(error)):
            raise
        return FAILED


def _hint(message: str) -> bool:
    """Say how to install what a message misses; return False if it misses nothing known."""
    for name in _EXTRAS:
        if f"No module named '{name}" in message:
            print(f"error: {name} is missing: pip install vcreg-theory[train]", file=sys.stderr)
            return True
    return False


def _train(arguments: argparse.Namespace) -> int:
    from . import training
    from .training import suites

    rows = suites.get(arguments.suite, only=arguments.only, seeds=arguments.seeds)
    if arguments.list:
        for row in rows:
            print(f"{row.key:40} {training.status(row, arguments.out)}")
        return FINISHED
    found = training.run_rows(
        rows,
        arguments.out,
        budget=arguments.budget,
        device=arguments.device,
        jobs=arguments.jobs,
        threads=arguments.threads,
        progress=not arguments.quiet,
    )
    return _summarise(found, arguments.out)


def _summarise(found: dict[str, str], out: Path) -> int:
    """Print how many rows are how far, and return the exit status."""
    kinds = [value.partition(":")[0] for value in found.values()]
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    print(f"{len(found)} rows in {out}: {counts}")
    if "failed" in kinds:
        _hint("\n".join(found.values()))
        return FAILED
    return FINISHED if set(kinds) <= {"finished"} else UNFINISHED


def _evaluate(arguments: argparse.Namespace) -> int:
    from . import checkpoints, validation
    from .training import recheck, threads

    if arguments.threads is not None:
        validation.integer("threads", arguments.threads, at_least=1)
    number = arguments.threads or threads.named(
        checkpoints.read_json(arguments.record).get("device")
    )
    with threads.count(number):
        differences = recheck.compare(arguments.record, device=arguments.device)
    worst = max(differences, key=lambda d: d.relative)
    for difference in differences:
        if difference.relative > arguments.tolerance:
            print(difference)
    print(
        f"{len(differences)} figures, largest relative difference {worst.relative:.2g} "
        f"({worst.name})"
    )
    return FINISHED if worst.relative <= arguments.tolerance else FAILED


def _cite(arguments: argparse.Namespace) -> int:
    from .claims import citation

    print(citation.cite(arguments.names))
    return FINISHED


def _study(arguments: argparse.Namespace) -> int:
    from . import studies, validation

    study = studies.STUDIES[validation.member("study", arguments.study, studies.STUDIES)]
    if arguments.list:
        print("\n".join(cell.name for cell in study.cells))
        return FINISHED
    finished, left = studies.run(
        study,
        arguments.out,
        only=arguments.only,
        seeds=arguments.seeds,
        budget=arguments.budget,
        report=None if arguments.quiet else print,
    )
    print(f"{finished + left} rows in {arguments.out}: {finished} finished, {left} waiting")
    return UNFINISHED if left else FINISHED

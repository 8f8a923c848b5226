"""The folder of records: where it is, what is in it."""

import os
from pathlib import Path

from ..checkpoints import read_json, write_json
from .schema import Record

VARIABLE = "VCREG_RECORDS"
PathLike = str | os.PathLike[str]


def default_folder() -> Path:
    """Return the folder of the records that the book quotes.

    Returns
    -------
    Path
        The value of the environment variable ``VCREG_RECORDS`` if it is set, else ``data/records``
        of the source tree. The folder may be absent.

    Examples
    --------
    >>> default_folder().name if "VCREG_RECORDS" not in os.environ else "records"
    'records'
    """
    named = os.environ.get(VARIABLE)
    return Path(named) if named else Path(__file__).resolve().parents[2] / "data" / "records"


def load(suite: str | None = None, folder: PathLike | None = None) -> list[Record]:
    """Return the records of a folder, by suite, method and seed.

    Parameters
    ----------
    suite : str, optional
        Only those of one suite.
    folder : path, optional
        Folder of ``*.json`` files; by default `default_folder`.

    Returns
    -------
    list of Record
        Not empty.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or no record in it.
    ValueError
        If a file is no record (the message names file and field), two files hold the same run, or
        no record belongs to `suite`.

    Examples
    --------
    >>> load(folder="nowhere")
    Traceback (most recent call last):
    ...
    FileNotFoundError: no folder of records at nowhere; set VCREG_RECORDS or pass folder=
    """
    place = default_folder() if folder is None else Path(folder)
    if not place.is_dir():
        raise FileNotFoundError(f"no folder of records at {place}; set {VARIABLE} or pass folder=")
    found: dict[tuple[str, str, int], tuple[Path, Record]] = {}
    for path in sorted(place.glob("*.json")):
        record = read(path)
        name = (record.suite, record.method, record.seed)
        if name in found:
            raise ValueError(f"{path} and {found[name][0]} both hold the run {record.key}")
        found[name] = path, record
    if not found:
        raise FileNotFoundError(f"no records (*.json) in {place}")
    records = [record for _, (_, record) in sorted(found.items()) if suite in (None, record.suite)]
    if not records:
        known = ", ".join(sorted({repr(name[0]) for name in found}))
        raise ValueError(f"suite must be one of {known} (those in {place}), got {suite!r}")
    return records


def read(path: PathLike) -> Record:
    """Return the record in one file.

    Parameters
    ----------
    path : path
        A JSON file.

    Returns
    -------
    Record

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not a whole record; the message names the file and the field.
    """
    content = read_json(path)
    try:
        return Record.from_dict(content)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def write(record: Record, folder: PathLike | None = None) -> Path:
    """Write a record to its file, whole or not at all, over an older one of the same run.

    Parameters
    ----------
    record : Record
        The record; its file is ``suite-method-s<seed>.json``.
    folder : path, optional
        Folder, made if absent; by default `default_folder`.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    TypeError, ValueError
        If an entry is not finite or no JSON; nothing is written then.

    Examples
    --------
    >>> import tempfile
    >>> run = Record("digits", "vicreg", 0, "VICReg", {}, {"name": "digits"}, "0.1", "2.6", "cpu",
    ...              12.5, None, 1000, [], {"accuracy": {"linear": 0.9}}, None)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write(run, folder)
    ...     path.name, load("digits", folder) == [run]
    ('digits-vicreg-s0.json', True)
    """
    path = (default_folder() if folder is None else Path(folder)) / f"{record.key}.json"
    write_json(path, record.to_dict())
    return path

"""JSON files: written whole, with plain finite content only."""

import json
import math
from typing import Any, NoReturn

from ..files import PathLike, read, write


def write_json(path: PathLike, record: Any) -> None:
    """Write a record as JSON: the old file or the new one is there, whole, whatever happens.

    Parameters
    ----------
    path : path
        File to write; missing folders are made.
    record : dict, list, str, int, float, bool or None
        Nested at will; keys are strings. A tuple is written as a list.

    Raises
    ------
    ValueError
        If a number is NaN or infinite; the message says where.
    TypeError
        If a key is not a string or a value is of another type; the message says where.
    OSError
        If the file cannot be written; the message names `path`.

    Notes
    -----
    Keys are sorted, so equal records give equal files.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_json(f"{folder}/a.json", {"loss": [1.5, 0.25]})
    ...     read_json(f"{folder}/a.json")
    {'loss': [1.5, 0.25]}
    """
    _refuse_unwritable(f"{path}: record", record)
    text = json.dumps(record, sort_keys=True, allow_nan=False, indent=1, ensure_ascii=False)
    write(path, f"{text}\n".encode())


def read_json(path: PathLike) -> Any:
    """Return what a JSON file holds.

    Parameters
    ----------
    path : path
        File to read.

    Returns
    -------
    dict, list, str, int, float, bool or None

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not JSON, is cut off, or holds NaN or infinity; the message names `path`.
    """
    data = read(path, "record")
    try:
        return json.loads(data.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a whole JSON file: {error}") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number of JSON")


def _refuse_unwritable(where: str, value: Any) -> None:
    """Raise for the first part of `value` that JSON does not hold."""
    if isinstance(value, dict):
        for key, part in value.items():
            if not isinstance(key, str):
                raise TypeError(f"{where} must have strings as keys, got {key!r}")
            _refuse_unwritable(f"{where}[{key!r}]", part)
    elif isinstance(value, (list, tuple)):
        for index, part in enumerate(value):
            _refuse_unwritable(f"{where}[{index}]", part)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} must be finite, got {value!r}")
    elif value is not None and not isinstance(value, (str, int, float)):
        raise TypeError(
            f"{where} must be a number, string, list or dict, got {type(value).__name__}"
        )

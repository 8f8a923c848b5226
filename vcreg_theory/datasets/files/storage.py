"""Where data sets are looked for on this machine, and a cache of decoded arrays."""

import os
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ... import files

VARIABLE = "VCREG_DATA"
"""Environment variable that names the folder of data sets."""


def cache_folder() -> Path:
    """Return the folder of this user for downloads and decoded arrays.

    It is ``vcreg_theory`` in the folder that ``XDG_CACHE_HOME`` names, or else in ``~/.cache``.
    Everything in it can be deleted at any time.
    """
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "vcreg_theory"


def search_folders(root: str | os.PathLike[str] | None) -> list[Path]:
    """Return the places to look for a data set, in order.

    Parameters
    ----------
    root : str or PathLike, optional
        A place given by the caller: then the only one, so that nothing else is read by mistake.

    Returns
    -------
    list of Path
        `root`; or the folder that the environment variable ``VCREG_DATA`` names, if it is set, and
        the cache folder of this user.

    Examples
    --------
    >>> search_folders("here")
    [PosixPath('here')]
    """
    if root is not None:
        return [Path(root).expanduser()]
    named = os.environ.get(VARIABLE)
    return [*([Path(named).expanduser()] if named else []), cache_folder()]


def decoded(
    key: str, wanted: tuple[str, ...], decode: Callable[[], dict[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """Return arrays that take long to decode: from the cache if they are there, else decoded.

    Parameters
    ----------
    key : str
        Name of the content; it must change whenever the arrays would.
    wanted : tuple of str
        Names of the arrays to return.
    decode : callable
        Makes all arrays of the key. They are then kept in one file of the cache folder, written
        beside it and put in place in one step.

    Returns
    -------
    dict of str to ndarray

    Warns
    -----
    RuntimeWarning
        If the file cannot be written; the arrays are returned all the same.

    Notes
    -----
    A damaged file is noticed by the checksums it holds and is replaced.
    """
    path = cache_folder() / f"{key}.npz"
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in wanted}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        arrays: dict[str, Any] = decode()
    try:
        with files.writing(path) as output:
            np.savez(output, **arrays)
    except OSError as error:
        message = f"{path} could not be written ({error}): the data are decoded again next time"
        warnings.warn(message, RuntimeWarning, stacklevel=2)
    return {name: arrays[name] for name in wanted}

"""Weights in safetensors files that say what they are and notice any change."""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .. import validation
from ..files import PathLike, read, write
from ..models.summary import tensors_fingerprint
from .container import decode, encode, read_entries

RESERVED = ("fingerprint", "checksum")
DTYPES = (None, torch.float16, torch.bfloat16, torch.float32, torch.float64)


def save(
    path: PathLike,
    model: nn.Module,
    *,
    metadata: Mapping[str, str],
    dtype: torch.dtype | None = None,
) -> str:
    """Write a model's weights and buffers: the old file or the new one is there, whole.

    Parameters
    ----------
    path : path
        File to write; missing folders are made.
    model : nn.Module
        On any device.
    metadata : mapping of str to str
        What the weights are, for instance the configuration as JSON.
    dtype : torch.dtype, optional
        Type in which floating-point tensors are stored, float16 or bfloat16 for half the size;
        their own if left out. Integers such as BatchNorm's counters stay as they are.

    Returns
    -------
    str
        The sha256 of the file. Equal models and metadata give equal files.

    Raises
    ------
    TypeError
        If a key or value of `metadata` is not a string.
    ValueError
        If `metadata` uses the names "fingerprint" or "checksum", if `dtype` is not allowed, or if a
        tensor holds NaN or infinity or would in `dtype`.
    OSError
        If the file cannot be written; the message names `path`.

    Notes
    -----
    Two entries are added to the metadata: "fingerprint", which is `models.fingerprint` of the
    tensors as stored, and "checksum", the sha256 of the header without it.

    Examples
    --------
    >>> import tempfile
    >>> from vcreg_theory.models import fingerprint, mlp
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     digest = save(f"{folder}/a.safetensors", mlp([2, 3], seed=0), metadata={"seed": "0"})
    ...     found = load(f"{folder}/a.safetensors", mlp([2, 3], seed=1), sha256=digest)
    >>> found["seed"], found["fingerprint"] == fingerprint(mlp([2, 3], seed=0))
    ('0', True)
    """
    validation.member("dtype", dtype, DTYPES)
    entries = _strings(metadata)
    tensors = {
        name: _cast(f"{path}: tensor '{name}'", value, dtype)
        for name, value in model.state_dict().items()
    }
    entries["fingerprint"] = tensors_fingerprint(tensors)
    data = encode(tensors, entries)
    write(path, data)
    return hashlib.sha256(data).hexdigest()


def load(path: PathLike, model: nn.Module, *, sha256: str | None = None) -> dict[str, str]:
    """Read a file that `save` wrote into a model of the same architecture.

    Parameters
    ----------
    path : path
        File to read.
    model : nn.Module
        Keeps its dtype and device: tensors are converted as they are copied. Unchanged if an error
        is raised.
    sha256 : str, optional
        The expected sha256 of the file.

    Returns
    -------
    dict of str to str
        The metadata.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not a checkpoint of `save`, was cut off or altered, is not the one expected,
        or does not fit the model; the message names `path` and what was expected.
    """
    data = read(path, "checkpoint")
    if sha256 is not None:
        _expect(path, "the sha256 of the file", hashlib.sha256(data).hexdigest(), sha256)
    entries, tensors = decode(path, data)
    found = tensors_fingerprint(tensors)
    _expect(path, "the fingerprint of its tensors", found, entries["fingerprint"])
    own = model.state_dict()
    _refuse_other_architecture(path, tensors, own)
    model.load_state_dict(
        {k: _cast(f"{path}: tensor '{k}'", v, own[k].dtype) for k, v in tensors.items()}
    )
    return entries


def metadata(path: PathLike) -> dict[str, str]:
    """Return the metadata of a checkpoint; only the header is read.

    Parameters
    ----------
    path : path
        File that `save` wrote.

    Returns
    -------
    dict of str to str
        With "fingerprint" and "checksum"; the tensors are not compared with it.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the header is not one of `save`, or was cut off or altered.
    """
    return read_entries(path)


def _strings(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return a copy of the metadata if all of it is strings and no reserved name is used."""
    for key, value in metadata.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError(f"metadata must map strings to strings, got {key!r}: {value!r}")
        if key in RESERVED:
            raise ValueError(f"metadata must not use the name {key!r}, which save writes")
    return dict(metadata)


def _cast(where: str, value: Tensor, dtype: torch.dtype | None) -> Tensor:
    """Return a tensor on the CPU in row-major order, in `dtype` if it is floating point."""
    if not value.is_floating_point():
        dtype = value.dtype
    # A copy, since a file cannot hold two tensors that share memory.
    out = value.detach().to("cpu", dtype or value.dtype, copy=True).contiguous()
    if out.is_floating_point() and not bool(torch.isfinite(out).all()):
        largest = f"its largest entry is {value.detach().double().abs().max().item():.3g}"
        raise ValueError(f"{where} must be finite in {out.dtype}, {largest}")
    return out


def _expect(path: PathLike, what: str, found: str, expected: str) -> None:
    """Raise unless a hash is the expected one."""
    if found != expected:
        raise ValueError(f"{path} was altered or is another: {what} is {found}, not {expected}")


def _refuse_other_architecture(
    path: PathLike, tensors: dict[str, Tensor], own: Mapping[str, Tensor]
) -> None:
    """Raise, naming the first few, if names, shapes or integer types differ from the model's."""

    def kind(value: Tensor) -> str:
        name = "floating point" if value.is_floating_point() else value.dtype
        return f"{tuple(value.shape)} {name}"

    differ = [
        f"'{k}' is {kind(tensors[k])}, not {kind(own[k])}"
        for k in tensors.keys() & own.keys()
        if kind(tensors[k]) != kind(own[k])
    ]
    found = {
        "missing": [f"'{k}'" for k in own.keys() - tensors.keys()],
        "unexpected": [f"'{k}'" for k in tensors.keys() - own.keys()],
        "different": differ,
    }
    parts = [
        f"{len(names)} {what}: {', '.join(sorted(names)[:3])}{', ...' * (len(names) > 3)}"
        for what, names in found.items()
        if names
    ]
    if parts:
        raise ValueError(f"{path} is of another architecture than the model: {'; '.join(parts)}")

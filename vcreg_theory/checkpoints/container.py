"""The container: a safetensors file whose header has one spelling and a checksum."""

import hashlib
import json
from typing import Any

from torch import Tensor

from ..files import PathLike, read

LONGEST_HEADER = 100_000_000  # that of the format


def encode(tensors: dict[str, Tensor], entries: dict[str, str]) -> bytes:
    """Return the file, with the checksum of the header added to its metadata."""
    from safetensors import torch as safetensors

    plain = safetensors.save(tensors)
    start = 8 + int.from_bytes(plain[:8], "little")
    header = {**json.loads(plain[8:start]), "__metadata__": entries}
    header["__metadata__"] = {**entries, "checksum": _checksum(header)}
    # The library writes metadata in random order, which would give equal models unequal files.
    text = _canonical(header)
    return len(text).to_bytes(8, "little") + text + plain[start:]


def decode(path: PathLike, data: bytes) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Return the metadata and the tensors of a file with the content `data`."""
    from safetensors import torch as safetensors

    header, start = _header(path, data)
    entries = header.pop("__metadata__")
    size = start + max((entry["data_offsets"][1] for entry in header.values()), default=0)
    if len(data) != size:
        raise ValueError(
            f"{path} was cut off or altered: it has {len(data)} bytes, its header says {size}"
        )
    return entries, safetensors.load(data)


def read_entries(path: PathLike) -> dict[str, str]:
    """Return the metadata of a file of which only the header is read."""
    length = int.from_bytes(read(path, "checkpoint", 8), "little")
    data = read(path, "checkpoint", 8 + min(length, LONGEST_HEADER))
    entries: dict[str, str] = _header(path, data)[0]["__metadata__"]
    return entries


def _canonical(header: dict[str, Any]) -> bytes:
    """Return the one way to write a header, padded as the format asks."""
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    return text + b" " * (-len(text) % 8)


def _checksum(header: dict[str, Any]) -> str:
    """Return the sha256 of a header without the checksum."""
    entries = {k: v for k, v in header["__metadata__"].items() if k != "checksum"}
    return hashlib.sha256(_canonical({**header, "__metadata__": entries})).hexdigest()


def _header(path: PathLike, data: bytes) -> tuple[dict[str, Any], int]:
    """Return the header of a file, verified, and where the tensors start."""
    start = 8 + int.from_bytes(data[:8], "little")
    if len(data) < start:
        raise ValueError(
            f"{path} is not a whole checkpoint: its header should end at byte {start} of "
            f"{len(data)}; it was cut off or altered, or is another kind of file"
        )
    text = data[8:start]
    try:
        header = json.loads(text)
        entries = header["__metadata__"]
        whole = entries["checksum"] == _checksum(header) and "fingerprint" in entries
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{path} was altered or not written by save: its header cannot be read ({error!r})"
        ) from error
    if not whole or text != _canonical(header):
        raise ValueError(f"{path} was altered: its header does not agree with its checksum")
    return header, start

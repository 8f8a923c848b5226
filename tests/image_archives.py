"""Makers of small image archives in the forms that the data sets are published in."""

import io
import pickle
import tarfile
from typing import ClassVar

import numpy as np
from PIL import Image

from vcreg_theory.datasets.cifar10 import CLASSES, FOLDER

BATCHES = [f"data_batch_{k}" for k in range(1, 6)] + ["test_batch"]
CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx_bytes(array):
    """The bytes of an IDX file."""
    head = bytes([0, 0, CODES[array.dtype.str[1:]], array.ndim])
    sizes = np.array(array.shape, ">u4").tobytes()
    return head + sizes + array.astype(array.dtype.newbyteorder(">")).tobytes()


class _Python2(pickle._Pickler):
    """Pickle as Python 2 with NumPy 1 did: strings are bytes, and numbers stand for truth."""

    def __init__(self, file):
        super().__init__(file, protocol=2)

    def _save_string(self, value):
        raw = value.encode() if isinstance(value, str) else value
        short = len(raw) < 256
        head = b"U" + bytes([len(raw)]) if short else b"T" + len(raw).to_bytes(4, "little")
        self.write(head + raw)
        self.memoize(value)

    dispatch: ClassVar = {**pickle._Pickler.dispatch, str: _save_string, bytes: _save_string}

    def reducer_override(self, value):
        if isinstance(value, np.dtype):
            return np.dtype, (value.str[1:], 0, 1), (3, "|", None, None, None, -1, -1, 0)
        return NotImplemented


def python2_pickle(value):
    """The bytes of a pickle in the form of the official batches."""
    file = io.BytesIO()
    _Python2(file).dump(value)
    return file.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def batches(rng, n=6):
    """Six small batches: names, pixels and labels, pickled as in the official archive."""
    made = {}
    for name in BATCHES:
        data = rng.integers(0, 256, (n, 3072), dtype=np.uint8)
        labels = rng.integers(0, 10, n).tolist()
        batch = {"batch_label": name, "labels": labels, "data": data, "filenames": ["a.png"] * n}
        made[name] = (data, labels, python2_pickle(batch))
    return made


def image_bytes(rng, kind="PNG", size=(32, 32), mode="RGB"):
    """The bytes of one random image, and its pixels before compression."""
    shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
    pixels = rng.integers(0, 256, shape, dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue(), pixels


def class_folders(rng, n=2, kind="png"):
    """Names, bytes and pixels of small class folders."""
    return {
        f"{part}/{folder}/{k:04}.{kind}": image_bytes(rng, "PNG" if kind == "png" else "JPEG")
        for part in ("train", "test")
        for folder in CLASSES
        for k in range(n)
    }


def write_tar(path, files):
    """Write a tar archive of (name, bytes) pairs; the suffix names the compression."""
    suffix = path.suffix.removeprefix(".")
    with tarfile.open(path, f"w:{suffix}" if suffix in ("gz", "xz", "bz2") else "w") as archive:
        for name, content in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def write_files(folder, files):
    """Write (name, bytes) pairs below a folder and return it."""
    for name, content in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def official_files(rng, n=6):
    """Small batches, and the (name, bytes) pairs of an archive like the official one."""
    made = batches(rng, n)
    files = [(f"{FOLDER}/{name}", content) for name, (_, _, content) in made.items()]
    return made, [*files, (f"{FOLDER}/batches.meta", b"not read"), (f"{FOLDER}/readme.html", b"")]

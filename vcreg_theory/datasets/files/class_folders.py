"""Images in class folders, ``train/<class>/<image>`` and ``test/<class>/<image>``."""

import io
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from .members import members

_FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}
_SPLITS = ("train", "test")


def read_class_folders(
    source: Path, classes: Sequence[str], size: tuple[int, int]
) -> tuple[dict[str, np.ndarray], str]:
    """Return the images and labels below a folder or in a tar archive, and their format.

    Parameters
    ----------
    source : Path
        A folder or a tar archive that holds ``train/<class>/*`` and ``test/<class>/*``, at its top
        or inside one folder; images are PNG or JPEG files. Other files are left alone.
    classes : sequence of str
        Names of the class folders, in the order of the labels.
    size : tuple of int
        Width and height that every image must have.

    Returns
    -------
    arrays : dict of str to ndarray
        ``train_images`` and ``test_images``, uint8 of shape (n, 3, height, width), and
        ``train_labels`` and ``test_labels``, int64 of shape (n,). Rows are in order of the class,
        then of the file's name, however the archive is ordered.
    format : str
        "PNG", or "JPEG" if any image is one: decoded pixels then differ from the originals.

    Raises
    ------
    ValueError
        If a class is unknown, a split or a class has no image, or an image cannot be decoded or
        has another size.

    Notes
    -----
    Pillow decodes the images; it comes with matplotlib.
    """
    found: dict[tuple[str, int, str], np.ndarray] = {}
    formats = set()
    for name, content in members(source, _is_image):
        split, folder, file = name.parts[-3:]
        if folder not in classes:
            raise ValueError(f"{source} has the unknown class folder {split}/{folder}")
        key = split, classes.index(folder), file
        if key in found:
            raise ValueError(f"{source} has two images {'/'.join(name.parts[-3:])}")
        found[key] = _decode(f"{source}: {name}", content, size)
        formats.add(_FORMATS[name.suffix.lower()])
    arrays = {}
    for split in _SPLITS:
        keys = sorted(key for key in found if key[0] == split)
        labels = np.array([label for _, label, _ in keys], dtype=np.int64)
        missing = [name for label, name in enumerate(classes) if label not in labels]
        if missing:
            raise ValueError(f"{source} has no images in {split}/{missing[0]}")
        pixels = np.stack([found[key] for key in keys])
        arrays[f"{split}_images"] = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
        arrays[f"{split}_labels"] = labels
    return arrays, "JPEG" if "JPEG" in formats else "PNG"


def _is_image(name: PurePosixPath) -> bool:
    """Return whether a file is an image of a class folder."""
    parts = name.parts
    return (
        name.suffix.lower() in _FORMATS
        and 3 <= len(parts) <= 4
        and parts[-3] in _SPLITS
        and not name.name.startswith(".")
    )


def _decode(name: str, content: bytes, size: tuple[int, int]) -> np.ndarray:
    """Return one image as RGB bytes of shape (height, width, 3); its size is checked first."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=("JPEG", "PNG")) as image:
            if image.size == size:
                return np.asarray(image.convert("RGB"))
            found = image.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{name} cannot be decoded: {error}") from error
    raise ValueError(f"{name} must have size {size[0]} x {size[1]}, got {found[0]} x {found[1]}")

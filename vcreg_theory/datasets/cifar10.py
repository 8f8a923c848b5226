"""CIFAR-10, from the official archive or from class folders of images."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from .download import checksum, fetch
from .files import decoded, members, read_class_folders, search_folders, unpickle_batch
from .image_views import view_dataset
from .source import Images, ViewDataset

CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"
)  # fmt: skip
"""Names of the classes in the order of the labels."""

VIEWS = {
    "crop_scale": (0.2, 1.0),
    "flip": 0.5,
    "brightness": 0.4,
    "contrast": 0.4,
    "saturation": 0.2,
    "hue": 0.1,
    "jitter": 0.8,
    "greyscale": 0.2,
}
"""Options of `augment` for the views."""

ARCHIVE = "cifar-10-python.tar.gz"
FOLDER = "cifar-10-batches-py"
URL = f"https://www.cs.toronto.edu/~kriz/{ARCHIVE}"
MD5 = "c58f30108f718f92721af3b95e74349a"
_BATCHES = {  # MD5 of the files of the archive
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
_COUNTS = {"train": 50_000, "test": 10_000}


def cifar10(
    *,
    train: bool = True,
    root: str | os.PathLike[str] | None = None,
    download: bool = False,
    device: torch.device | str = "cpu",
    _verify: bool = True,
) -> Images:
    """Return the training or the test images of CIFAR-10, as bytes.

    In the first place that has them, these forms are looked for: the official archive
    ``cifar-10-python.tar.gz``; its unpacked folder ``cifar-10-batches-py``; an archive
    ``cifar10*.tar.xz`` (or .gz, .bz2, plain) of class folders ``train/<class>/<image>`` and
    ``test/<class>/<image>`` with PNG or JPEG images; such folders themselves.

    Parameters
    ----------
    train : bool
        The 50,000 training images or the 10,000 test images.
    root : str or PathLike, optional
        The folder to look in, or the archive itself. By default the folder that the environment
        variable ``VCREG_DATA`` names, then the cache folder ``~/.cache/vcreg_theory``.
    download : bool
        Whether to download the official archive (170 MB) to `root` or the cache folder if the
        images are found nowhere.
    device : torch.device or str
        Where to put the images.

    Returns
    -------
    Images
        ``images``, uint8 of shape (n, 3, 32, 32), and ``labels``, int64 of shape (n,), numbered as
        in `CLASSES`. The rows are in the order of the official batches, or of class and file name.

    Raises
    ------
    FileNotFoundError
        If the images are found nowhere and `download` is False; says what to put where.
    ConnectionError
        If the download fails.
    ValueError
        If a file is damaged or is not the original.

    Notes
    -----
    The official batches are checked by their MD5 and unpickled without running anything; class
    folders are checked by their number of images only, and JPEG is not lossless. What an archive
    decodes to is kept in the cache folder; the file there can be deleted at any time.

    A. Krizhevsky, "Learning multiple layers of features from tiny images", technical report,
    University of Toronto, 2009.
    """
    part = "train" if train else "test"
    images, _ = _load((part,), root, download, _verify)
    return Images(*(tensor.to(device) for tensor in images[part]))


def cifar10_views(
    *,
    root: str | os.PathLike[str] | None = None,
    download: bool = False,
    train_limit: int | None = None,
    device: torch.device | str = "cpu",
    _verify: bool = True,
) -> ViewDataset:
    """Return CIFAR-10 with views made by `augment`: crop, flip, colour jitter and greyscale.

    Parameters
    ----------
    root, download
        As in `cifar10`.
    train_limit : int, optional
        Number of training images to keep, balanced by class: the first ones after a fixed shuffle
        (see `image_views.balanced_order`). By default all.
    device : torch.device or str
        Where the images are kept and the views are drawn.

    Returns
    -------
    ViewDataset
        Its name is "cifar10". ``identity["data"]`` is "CIFAR-10" for the official images,
        "CIFAR-10 (JPEG)" or "CIFAR-10 (PNG)" for class folders.

    Raises
    ------
    FileNotFoundError, ConnectionError, ValueError
        As in `cifar10`, and if `train_limit` is out of range.
    """
    images, origin = _load(("train", "test"), root, download, _verify)
    return view_dataset(
        "cifar10",
        origin,
        images["train"],
        images["test"],
        train_limit=train_limit,
        device=device,
        **VIEWS,
    )


def _load(
    parts: tuple[str, ...], root: str | os.PathLike[str] | None, download: bool, verify: bool
) -> tuple[dict[str, Images], str]:
    """Return the images of the wanted parts, and what was read."""
    path = _find(root, download)
    names = tuple(f"{part}_{kind}" for part in parts for kind in ("images", "labels"))
    if path.is_dir():
        arrays = _read(path, verify)
    else:
        key = f"cifar10-{checksum(path)}" + ("" if verify else "-unchecked")
        arrays = decoded(key, (*names, "origin"), lambda: _read(path, verify))
    tensors = [torch.from_numpy(arrays[name]) for name in names]
    pairs = zip(parts, tensors[::2], tensors[1::2], strict=True)
    return {part: Images(*pair) for part, *pair in pairs}, str(arrays["origin"])


def _find(root: str | os.PathLike[str] | None, download: bool) -> Path:
    """Return the archive or folder to read, downloaded if that is asked for and needed."""
    folders = search_folders(root)
    for folder in folders:
        for path in _candidates(folder):
            return path
    if download:
        return fetch(URL, folders[-1] / ARCHIVE, md5=MD5)
    raise FileNotFoundError(
        f"CIFAR-10 was not found in {' or '.join(map(str, folders))}. Put {ARCHIVE} there (from "
        f"{URL}, MD5 {MD5}), or the folder {FOLDER} unpacked from it, or an archive "
        "cifar10*.tar.xz of class folders train/<class>/<image> and test/<class>/<image>; or name "
        "the folder that has it with root=... or the environment variable VCREG_DATA; or call "
        "again with download=True (170 MB)."
    )


def _candidates(folder: Path) -> Iterator[Path]:
    """Return the archives and folders of CIFAR-10 at one place, the best first."""
    if folder.is_file():
        yield folder
    if (folder / ARCHIVE).is_file():
        yield folder / ARCHIVE
    for place in (folder / FOLDER, folder):
        if (place / "data_batch_1").is_file():
            yield place
    for suffix in ("", ".gz", ".xz", ".bz2"):
        yield from sorted(folder.glob(f"cifar10*.tar{suffix}"))
    for place in (folder, folder / "cifar10"):
        if (place / "train" / CLASSES[0]).is_dir():
            yield place


def _read(path: Path, verify: bool) -> dict[str, np.ndarray]:
    """Return all images and labels of an archive or folder, and what it is."""
    if path.name == ARCHIVE or (path / "data_batch_1").is_file():
        arrays, origin = _read_batches(path, verify), "CIFAR-10"
    else:
        arrays, kind = read_class_folders(path, CLASSES, (32, 32))
        origin = f"CIFAR-10 ({kind})"
    for part, count in _COUNTS.items():
        found = len(arrays[f"{part}_labels"])
        if verify and found != count:
            raise ValueError(f"{path} has {found} {part} images, CIFAR-10 has {count}")
    return {**arrays, "origin": np.array(origin)}


def _read_batches(path: Path, verify: bool) -> dict[str, np.ndarray]:
    """Return the images and labels of the official batches."""
    found = {}
    for name, content in members(path, lambda name: name.name in _BATCHES):
        digest = hashlib.md5(content).hexdigest()
        if verify and digest != _BATCHES[name.name]:
            raise ValueError(
                f"{path}: {name} has md5 {digest}, expected {_BATCHES[name.name]}: the file is not "
                "the original"
            )
        found[name.name] = unpickle_batch(f"{path}: {name}", content)
    missing = [name for name in _BATCHES if name not in found]
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}")
    arrays = {}
    for part, names in (("train", list(_BATCHES)[:5]), ("test", ["test_batch"])):
        for index, kind in enumerate(("images", "labels")):
            arrays[f"{part}_{kind}"] = np.concatenate([found[name][index] for name in names])
    return arrays

"""MNIST, from its four IDX files."""

import os
from pathlib import Path

import torch

from .download import fetch
from .files import read_idx, search_folders
from .image_views import view_dataset
from .source import Images, ViewDataset

VIEWS = {
    "crop_scale": (0.5, 1.0),
    "flip": 0.0,  # a mirrored digit is another one, or none
    "brightness": 0.4,
    "contrast": 0.4,
    "saturation": 0.0,
    "hue": 0.0,
    "jitter": 0.8,
    "greyscale": 0.0,
}
"""Options of `augment` for the views."""

URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"
_FILES = {  # names, each with the MD5 of the file and of what is downloaded, compressed
    "train-images-idx3-ubyte": (
        "6bbc9ace898e44ae57da46a324031adb",
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    ),
    "train-labels-idx1-ubyte": (
        "a25bea736e30d166cdddb491f175f624",
        "d53e105ee54ea40749a09fcbcd1e9432",
    ),
    "t10k-images-idx3-ubyte": (
        "2646ac647ad5339dbf082846283269ea",
        "9fb629c4189551a2d022fa330f9573f3",
    ),
    "t10k-labels-idx1-ubyte": (
        "27ae3e4e09519cfbb04c329615203637",
        "ec29112dd5afa0611ce80d1b7f02629c",
    ),
}


def mnist(
    *,
    train: bool = True,
    root: str | os.PathLike[str] | None = None,
    download: bool = False,
    device: torch.device | str = "cpu",
    _verify: bool = True,
) -> Images:
    """Return the training or the test images of MNIST, as bytes.

    Parameters
    ----------
    train : bool
        The 60,000 training images or the 10,000 test images.
    root : str or PathLike, optional
        The folder with the IDX files, plain or compressed with gzip, or with a folder ``MNIST/raw``
        of them. By default the folder that the environment variable ``VCREG_DATA`` names, then the
        cache folder ``~/.cache/vcreg_theory``.
    download : bool
        Whether to download the files (12 MB) to `root` or the cache folder if one is found nowhere.
    device : torch.device or str
        Where to put the images.

    Returns
    -------
    Images
        ``images``, uint8 of shape (n, 1, 28, 28), and ``labels``, int64 of shape (n,).

    Raises
    ------
    FileNotFoundError
        If a file is found nowhere and `download` is False; says what to put where.
    ConnectionError
        If the download fails.
    ValueError
        If a file is damaged or is not the original, by the MD5 of its unpacked content.

    Notes
    -----
    Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, "Gradient-based learning applied to document
    recognition", Proceedings of the IEEE 86 (1998).
    """
    names = list(_FILES)[:2] if train else list(_FILES)[2:]
    paths = [_find(name, root, download) for name in names]
    images, labels = (
        torch.from_numpy(read_idx(path, md5=_FILES[name][0] if _verify else None))
        for name, path in zip(names, paths, strict=True)
    )
    for path, part, ndim in ((paths[0], images, 3), (paths[1], labels, 1)):
        if part.dtype != torch.uint8 or part.ndim != ndim or len(part) != len(labels):
            raise ValueError(
                f"{path} must hold uint8 of {ndim} dimensions and {len(labels)} rows, got "
                f"{part.dtype} of shape {tuple(part.shape)}"
            )
    return Images(images.unsqueeze(1).to(device), labels.to(device, torch.int64))


def mnist_views(
    *,
    root: str | os.PathLike[str] | None = None,
    download: bool = False,
    train_limit: int | None = None,
    device: torch.device | str = "cpu",
    _verify: bool = True,
) -> ViewDataset:
    """Return MNIST with views made by `augment`: crop, brightness and contrast, no flip.

    Parameters
    ----------
    root, download
        As in `mnist`.
    train_limit : int, optional
        Number of training images to keep, balanced by class: the first ones after a fixed shuffle
        (see `image_views.balanced_order`). By default all.
    device : torch.device or str
        Where the images are kept and the views are drawn.

    Returns
    -------
    ViewDataset
        Its name is "mnist".

    Raises
    ------
    FileNotFoundError, ConnectionError, ValueError
        As in `mnist`, and if `train_limit` is out of range.
    """
    train, test = (
        mnist(train=part, root=root, download=download, _verify=_verify) for part in (True, False)
    )
    return view_dataset(
        "mnist", "MNIST", train, test, train_limit=train_limit, device=device, **VIEWS
    )


def _find(name: str, root: str | os.PathLike[str] | None, download: bool) -> Path:
    """Return one of the files, compressed or not, downloaded if that is asked for and needed."""
    folders = search_folders(root)
    for folder in folders:
        for place in (folder, folder / "MNIST" / "raw"):
            for path in (place / name, place / f"{name}.gz"):
                if path.is_file():
                    return path
    if download:
        return fetch(f"{URL}{name}.gz", folders[-1] / f"{name}.gz", md5=_FILES[name][1])
    raise FileNotFoundError(
        f"MNIST: {name} was not found in {' or '.join(map(str, folders))}. Put the four files "
        f"{', '.join(_FILES)} there, plain or as .gz (from {URL}); or name the folder that has "
        "them with root=... or the environment variable VCREG_DATA; or call again with "
        "download=True (12 MB)."
    )

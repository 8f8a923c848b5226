"""Images read from files, as a data set with augmented views."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import seeding, validation
from .augment import augment
from .source import Images, ViewDataset, check_rows, content_hash


def balanced_order(labels: Tensor, stream: str) -> Tensor:
    """Return a fixed random order in which every beginning has the classes in equal numbers.

    Each class is shuffled; then the first image of each class is taken, then the second of each,
    and so on. Among the first m images the numbers of two classes differ by at most one, as long as
    both have images left. The first m of an order begin the first m + 1.

    Parameters
    ----------
    labels : Tensor of int64, shape (n,)
        Classes.
    stream : str
        Name of the random stream, one for each data set.

    Returns
    -------
    Tensor of int64, shape (n,)
        Row numbers.

    Examples
    --------
    >>> labels = torch.tensor([0, 0, 0, 0, 1, 1])
    >>> labels[balanced_order(labels, "example")].tolist()
    [0, 1, 0, 1, 0, 0]
    """
    classes = labels.cpu().numpy()
    shuffled = seeding.numpy_generator(0, stream).permutation(len(classes))
    by_class = shuffled[np.argsort(classes[shuffled], kind="stable")]
    counts = np.bincount(classes)
    turn = np.concatenate([np.arange(count) for count in counts])  # place within the own class
    return torch.from_numpy(by_class[np.lexsort((classes[by_class], turn))])


def view_dataset(
    name: str,
    origin: str,
    train: Images,
    test: Images,
    *,
    train_limit: int | None,
    device: torch.device | str,
    **options: Any,
) -> ViewDataset:
    """Return a data set whose views are made by `augment`.

    Parameters
    ----------
    name : str
        Name of the data.
    origin : str
        What was read, as records quote it.
    train, test : Images
        Images and labels on the CPU.
    train_limit : int, optional
        Number of training images kept: the first ones in `balanced_order`.
    device : torch.device or str
        Device on which the images are kept.
    **options
        Options of `augment`.

    Returns
    -------
    ViewDataset

    Raises
    ------
    ValueError
        If `train_limit` is not between 1 and the number of training images.
    """
    if train_limit is not None:
        if validation.integer("train_limit", train_limit, at_least=1) > len(train.labels):
            raise ValueError(f"train_limit must be at most {len(train.labels)}, got {train_limit}")
        rows = balanced_order(train.labels, f"{name} train_limit")[:train_limit]
        train = Images(*(part[rows] for part in train))
    identity = {
        "data": origin,
        "train_limit": str(train_limit),
        **{key: str(value) for key, value in options.items()},
        "sha256": content_hash(train, test),
    }
    train, test = (Images(*(part.to(device) for part in images)) for images in (train, test))

    def two_views(rows: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        images = train.images[check_rows(rows, generator, train.images)]
        first, second = (augment(images, generator=generator, **options) for _ in range(2))
        return first, second

    return ViewDataset(name, identity, train, test, two_views)

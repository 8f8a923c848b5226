"""What a trained network is worth: read-outs of its frozen features and their diagnostics."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from .. import diagnostics, readout, validation
from ..datasets import ViewDataset
from .networks import Network

Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Settings:
    """How much an evaluation looks at.

    Parameters
    ----------
    train_limit : int, optional
        Training images that read-outs along training are fitted to; the final evaluation uses all.
    describe_limit : int
        Test images that diagnostics describe.
    spectrum : int
        Leading eigenvalues that are kept.
    neighbours : int
        Neighbours that vote.
    penalty : float
        Ridge penalty of the linear read-out along training; the final evaluation chooses one.
    batch_size : int
        Images that pass the network at once.

    Raises
    ------
    ValueError
        If a number is out of range.
    """

    train_limit: int | None = None
    describe_limit: int = 512
    spectrum: int = 64
    neighbours: int = 200
    penalty: float = 1e-3
    batch_size: int = 1000

    def __post_init__(self) -> None:
        for name in ("describe_limit", "spectrum", "neighbours", "batch_size"):
            validation.integer(name, getattr(self, name), at_least=1)
        if self.train_limit is not None:
            validation.integer("train_limit", self.train_limit, at_least=1)
        validation.positive("penalty", self.penalty)


def evaluate(
    network: Network, dataset: ViewDataset, settings: Settings, *, final: bool
) -> dict[str, Any]:
    """Return read-outs and diagnostics of a network, which stays bit-identical.

    Parameters
    ----------
    network : Network
        The network, on the device of the data.
    dataset : ViewDataset
        Its training images fit the read-outs, its test images score them; neither is augmented.
    settings : Settings
        Sizes.
    final : bool
        Whether to use all training images, to choose the linear read-out's penalty, and to read
        out the embedding too.

    Returns
    -------
    dict
        ``linear`` and ``knn`` accuracies of the representation; ``representation`` and
        ``embedding``, the diagnostics of test images; ``factor_r2`` where the data have factors. A
        final evaluation also has ``linear_low`` and ``linear_high``, the ends of the 95 % interval
        over the draw of test images, ``linear_penalty``, and all read-outs of the embedding as
        ``embedding_...``.
    """
    n = len(dataset) if final else min(settings.train_limit or len(dataset), len(dataset))
    h = _features(network.encoder, (dataset.train.images[:n], dataset.test.images), settings)
    z = _features(network.projector, h, settings)
    result = _read_out(h, dataset, settings, final)
    if final:
        embedding = _read_out(z, dataset, settings, final)
        result |= {f"embedding_{name}": value for name, value in embedding.items()}
    result["representation"] = _describe(h[1], settings)
    result["embedding"] = _describe(z[1], settings)
    return result


def _features(module: nn.Module, parts: Pair, settings: Settings) -> Pair:
    """Return the outputs of a frozen module for training and test images."""
    size = settings.batch_size
    first, second = (readout.features(module, part, batch_size=size) for part in parts)
    return first, second


def _describe(features: Tensor, settings: Settings) -> dict[str, Any]:
    """Return diagnostics of test features, with the leading part of the spectrum."""
    found = diagnostics.describe(features, max_samples=settings.describe_limit)
    if found["spectrum"] is not None:
        found["spectrum"] = found["spectrum"][: settings.spectrum]
    return found


def _read_out(
    features: Pair, dataset: ViewDataset, settings: Settings, final: bool
) -> dict[str, Any]:
    """Return what can be read from frozen features of training and test images."""
    n = len(features[0])
    labels = dataset.train.labels[:n], dataset.test.labels
    arguments = features[0], labels[0], features[1], labels[1]
    linear = readout.linear_readout(*arguments, penalty=None if final else settings.penalty)
    result: dict[str, Any] = {
        "linear": linear.accuracy,
        "knn": readout.knn_readout(*arguments, k=settings.neighbours).accuracy,
    }
    if final:
        result["linear_low"], result["linear_high"] = linear.interval.low, linear.interval.high
        result["linear_penalty"] = linear.penalty
    if dataset.train_factors is not None and dataset.test_factors is not None:
        factors = dataset.train_factors[:n], dataset.test_factors
        r2 = readout.factor_r2(features[0], factors[0], features[1], factors[1]).tolist()
        result["factor_r2"] = dict(zip(dataset.factor_names, r2, strict=True))
    return result

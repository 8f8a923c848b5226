"""Tests of MNIST and CIFAR-10 as data sets, on small archives made here.

The tests at the end read the real images and run only where ``VCREG_DATA`` names the folder that
has them. Everywhere else the check of the originals' checksums is switched off through the private
argument ``_verify``, or they are replaced.
"""

import gzip
import hashlib
import importlib
import os
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from image_archives import (
    BATCHES,
    class_folders,
    idx_bytes,
    official_files,
    write_files,
    write_tar,
)

from vcreg_theory.datasets.cifar10 import ARCHIVE, CLASSES, FOLDER, cifar10, cifar10_views
from vcreg_theory.datasets.files import read_class_folders, storage
from vcreg_theory.datasets.image_views import balanced_order
from vcreg_theory.datasets.mnist import mnist, mnist_views

# The modules share their names with the functions that their package exports.
cifar10_module, mnist_module = (
    importlib.import_module(f"vcreg_theory.datasets.{name}") for name in ("cifar10", "mnist")
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _own_folders(tmp_path, monkeypatch, request):
    """Keep the user's data and cache out of the tests, and what they write out of the cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    if "real" not in request.node.name:
        monkeypatch.delenv("VCREG_DATA", raising=False)
    yield
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)  # large for the real data


def _check_official(images, made, names):
    expected = np.concatenate([made[name][0] for name in names]).reshape(-1, 3, 32, 32)
    assert images.images.dtype == torch.uint8 and images.labels.dtype == torch.int64
    assert np.array_equal(images.images.numpy(), expected)
    assert images.labels.tolist() == [label for name in names for label in made[name][1]]


# CIFAR-10


@pytest.mark.parametrize("form", ["archive", "the file itself", "folder", "the folder itself"])
def test_cifar10__official_forms(tmp_path, rng, form):
    made, files = official_files(rng)
    if "folder" in form:
        write_files(tmp_path, files)
        root = tmp_path / FOLDER if "itself" in form else tmp_path
    else:
        archive = write_tar(tmp_path / ARCHIVE, files)
        root = archive if "itself" in form else tmp_path
    _check_official(cifar10(root=root, _verify=False), made, BATCHES[:5])
    _check_official(cifar10(root=str(root), train=False, _verify=False), made, BATCHES[5:])
    assert cifar10_views(root=root, _verify=False).identity["data"] == "CIFAR-10"


@pytest.mark.parametrize("form", ["archive", "folder", "folder cifar10"])
@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_cifar10__class_folders(tmp_path, rng, form, kind):
    made = class_folders(rng, kind=kind)
    files = [(name, content) for name, (content, _) in made.items()]
    if form == "archive":
        write_tar(tmp_path / "cifar10-any.tar.xz", files)
    else:
        write_files(tmp_path / form.removeprefix("folder").strip(), files)
    found = cifar10(root=tmp_path, train=False, _verify=False)
    expected, _ = read_class_folders(
        tmp_path / {"archive": "cifar10-any.tar.xz", "folder cifar10": "cifar10"}.get(form, ""),
        CLASSES,
        (32, 32),
    )
    assert np.array_equal(found.images.numpy(), expected["test_images"])
    assert found.labels.tolist() == [label for label in range(10) for _ in "ab"]
    name = {"png": "CIFAR-10 (PNG)", "jpg": "CIFAR-10 (JPEG)"}[kind]
    assert cifar10_views(root=tmp_path, _verify=False).identity["data"] == name


def test_cifar10__originals_are_checked(tmp_path, rng):
    _, files = official_files(rng)
    write_tar(tmp_path / ARCHIVE, files)
    with pytest.raises(ValueError, match=r"data_batch_1 has md5 .* not the original"):
        cifar10(root=tmp_path)
    folders = tmp_path / "folders"
    write_files(folders, [(name, content) for name, (content, _) in class_folders(rng).items()])
    with pytest.raises(ValueError, match="has 20 train images, CIFAR-10 has 50000"):
        cifar10(root=folders)
    write_tar(tmp_path / ARCHIVE, [file for file in files if "batch_3" not in file[0]])
    with pytest.raises(ValueError, match="lacks data_batch_3"):
        cifar10(root=tmp_path, _verify=False)
    assert not storage.cache_folder().exists()  # nothing that failed is kept


def test_cifar10__verified_by_the_checksums_of_the_batches(tmp_path, rng, monkeypatch):
    made, files = official_files(rng)
    sums = {name: hashlib.md5(content).hexdigest() for name, (_, _, content) in made.items()}
    monkeypatch.setattr(cifar10_module, "_BATCHES", sums)
    monkeypatch.setattr(cifar10_module, "_COUNTS", {"train": 30, "test": 6})
    write_tar(tmp_path / ARCHIVE, files)
    _check_official(cifar10(root=tmp_path), made, BATCHES[:5])


def test_cifar10__decoded_once(tmp_path, rng, monkeypatch):
    made, files = official_files(rng)
    write_tar(tmp_path / ARCHIVE, files)
    cifar10(root=tmp_path, _verify=False)
    monkeypatch.setattr(cifar10_module, "_read", lambda *_: pytest.fail("decoded again"))
    _check_official(cifar10(root=tmp_path, _verify=False), made, BATCHES[:5])
    _check_official(cifar10(root=tmp_path, train=False, _verify=False), made, BATCHES[5:])
    (kept,) = storage.cache_folder().iterdir()
    assert kept.suffix == ".npz"  # and nothing beside it
    with pytest.raises(pytest.fail.Exception, match="decoded again"):
        cifar10(root=tmp_path)  # what was not verified does not count as verified


@pytest.mark.parametrize("damage", ["cut", "flip", "replace", "empty"])
def test_cifar10__a_damaged_cache_is_replaced(tmp_path, rng, damage):
    made, files = official_files(rng)
    write_tar(tmp_path / ARCHIVE, files)
    cifar10(root=tmp_path, _verify=False)
    (kept,) = storage.cache_folder().iterdir()
    good = kept.read_bytes()
    flipped = bytearray(good)
    flipped[good.index(made["data_batch_2"][0].tobytes()) + 9] ^= 1
    bad = {"cut": good[:-1000], "flip": bytes(flipped), "replace": b"something", "empty": b""}
    kept.write_bytes(bad[damage])
    _check_official(cifar10(root=tmp_path, _verify=False), made, BATCHES[:5])
    _check_official(cifar10(root=tmp_path, train=False, _verify=False), made, BATCHES[5:])
    assert len(kept.read_bytes()) == len(good)


def test_cifar10__works_without_a_cache(tmp_path, rng, monkeypatch):
    made, files = official_files(rng)
    write_tar(tmp_path / ARCHIVE, files)
    (tmp_path / "cache").write_text("in the way")
    with pytest.warns(RuntimeWarning, match=r"could not be written .* decoded again next time"):
        found = cifar10(root=tmp_path, _verify=False)
    _check_official(found, made, BATCHES[:5])


def test_cifar10__places_in_order(tmp_path, rng, monkeypatch):
    made = []
    places = [tmp_path / "given", tmp_path / "named", storage.cache_folder()]
    for place in places:
        place.mkdir(parents=True)
        batches, files = official_files(rng)
        made.append(batches)
        write_tar(place / ARCHIVE, files)
    monkeypatch.setenv("VCREG_DATA", str(places[1]))
    _check_official(cifar10(root=places[0], _verify=False), made[0], BATCHES[:5])
    _check_official(cifar10(_verify=False), made[1], BATCHES[:5])
    (places[1] / ARCHIVE).unlink()
    _check_official(cifar10(_verify=False), made[2], BATCHES[:5])
    (places[0] / ARCHIVE).unlink()
    with pytest.raises(FileNotFoundError):  # a place that was asked for is the only one
        cifar10(root=places[0], _verify=False)


@pytest.mark.parametrize("load", [cifar10, cifar10_views, mnist, mnist_views])
def test_loaders__say_what_to_put_where(tmp_path, monkeypatch, load):
    monkeypatch.setenv("VCREG_DATA", str(tmp_path / "named"))
    with pytest.raises(FileNotFoundError) as caught:
        load()
    needed = [str(tmp_path / "named"), str(storage.cache_folder()), "VCREG_DATA", "download=True"]
    needed += [ARCHIVE, FOLDER] if "cifar" in load.__name__ else ["t10k-labels-idx1-ubyte"]
    assert all(text in str(caught.value) for text in needed)
    assert not list(tmp_path.iterdir())


# MNIST

IDX = list(mnist_module._FILES)


def _mnist(rng, n=12):
    sizes = [(n, 28, 28), (n,), (5, 28, 28), (5,)]
    made = [rng.integers(0, 256 if len(s) > 1 else 10, s, dtype=np.uint8) for s in sizes]
    return made, [(name, idx_bytes(array)) for name, array in zip(IDX, made, strict=True)]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("place", [".", "MNIST/raw"])
def test_mnist__idx_files(tmp_path, rng, packed, place):
    made, files = _mnist(rng)
    if packed:
        files = [(f"{name}.gz", gzip.compress(content)) for name, content in files]
    write_files(tmp_path / place, files)
    for train, (images, labels) in ((True, made[:2]), (False, made[2:])):
        found = mnist(root=tmp_path, train=train, _verify=False)
        assert found.images.dtype == torch.uint8 and found.labels.dtype == torch.int64
        assert np.array_equal(found.images.numpy(), images[:, None])
        assert found.labels.tolist() == labels.tolist()
    with pytest.raises(ValueError, match="6bbc9ace898e44ae57da46a324031adb"):
        mnist(root=tmp_path)


def test_mnist__refuses_files_that_do_not_fit(tmp_path, rng):
    _, files = _mnist(rng)
    write_files(tmp_path, [*files[:1], (IDX[1], idx_bytes(np.zeros(11, np.uint8)))])
    with pytest.raises(ValueError, match=r"3 dimensions and 11 rows, got .* \(12, 28, 28\)"):
        mnist(root=tmp_path, _verify=False)
    write_files(tmp_path, [(IDX[1], idx_bytes(np.zeros(12, np.int32)))])
    with pytest.raises(ValueError, match="must hold uint8 of 1 dimensions"):
        mnist(root=tmp_path, _verify=False)


# Downloads


@pytest.fixture
def web(tmp_path):
    """A folder and the address of a server on this machine that offers it."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    folder = tmp_path / "web"
    folder.mkdir()
    handler = partial(Quiet, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.01))
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("to_root", [True, False])
def test_cifar10__downloads_when_asked(tmp_path, rng, monkeypatch, web, to_root):
    folder, url = web
    made, files = official_files(rng)
    archive = write_tar(folder / ARCHIVE, files)
    monkeypatch.setattr(cifar10_module, "URL", url + ARCHIVE)
    root = tmp_path / "root" if to_root else None
    with pytest.raises(ValueError, match="expected c58f30108f718f92721af3b95e74349a"):
        cifar10(root=root, download=True, _verify=False)
    monkeypatch.setattr(cifar10_module, "MD5", hashlib.md5(archive.read_bytes()).hexdigest())
    found = cifar10(root=root, download=True, _verify=False)
    _check_official(found, made, BATCHES[:5])
    assert ((root or storage.cache_folder()) / ARCHIVE).read_bytes() == archive.read_bytes()
    archive.unlink()  # no second download
    _check_official(cifar10(root=root, download=True, _verify=False), made, BATCHES[:5])


def test_mnist__downloads_when_asked(tmp_path, rng, monkeypatch, web):
    folder, url = web
    made, files = _mnist(rng)
    write_files(folder, [(f"{name}.gz", gzip.compress(content)) for name, content in files])
    sums = {
        name: (hashlib.md5(content).hexdigest(), hashlib.md5(packed.read_bytes()).hexdigest())
        for name, content in files
        for packed in [folder / f"{name}.gz"]
    }
    monkeypatch.setattr(mnist_module, "URL", url)
    with pytest.raises(ValueError, match="expected 9fb629c4189551a2d022fa330f9573f3"):
        mnist(train=False, download=True)
    monkeypatch.setattr(mnist_module, "_FILES", sums)
    data = mnist_views(download=True)
    assert np.array_equal(data.test.images.numpy(), made[2][:, None])
    assert len(list(storage.cache_folder().iterdir())) == 4


# Views


@pytest.mark.parametrize("name", ["cifar10", "mnist"])
def test_views__a_data_set_with_two_views(tmp_path, rng, name):
    files = (official_files(rng) if name == "cifar10" else _mnist(rng))[1]
    write_files(tmp_path, files)
    load = {"cifar10": cifar10_views, "mnist": mnist_views}[name]
    data = load(root=tmp_path, _verify=False)
    rows = torch.tensor([3, 0, 3])
    first, second = data.two_views(rows, torch.Generator().manual_seed(0))
    assert first.shape == second.shape == (3, *data.train.images.shape[1:])
    assert first.dtype == torch.float32 and first.min() >= 0 and first.max() <= 1
    # Each row and each view has its own draw.
    assert len(torch.cat((first, second)).flatten(1).unique(dim=0)) == 6
    again = data.two_views(rows, torch.Generator().manual_seed(0))
    assert torch.equal(first, again[0]) and torch.equal(second, again[1])
    assert data.name == name and len(data) == len(data.train.labels)
    assert load(root=tmp_path, _verify=False).identity == data.identity
    less = load(root=tmp_path, _verify=False, train_limit=5)
    assert len(less) == 5 and torch.equal(less.test.images, data.test.images)
    assert less.identity["sha256"] != data.identity["sha256"]
    for row, label in zip(*less.train, strict=True):  # images keep their labels
        same = (data.train.images == row).flatten(1).all(1)
        assert data.train.labels[same].tolist() == [label]
    with pytest.raises(ValueError, match=f"train_limit must be at most {len(data)}"):
        load(root=tmp_path, _verify=False, train_limit=len(data) + 1)
    with pytest.raises(ValueError, match="train_limit must be at least 1"):
        load(root=tmp_path, _verify=False, train_limit=0)


def test_mnist_views__digits_are_neither_mirrored_nor_coloured(tmp_path):
    ramp = np.tile(np.arange(0, 252, 9, dtype=np.uint8), (200, 28, 1))
    zeros = np.zeros(200, np.uint8)
    write_files(tmp_path, zip(IDX, map(idx_bytes, (ramp, zeros, ramp, zeros)), strict=True))
    data = mnist_views(root=tmp_path, _verify=False)
    view, _ = data.two_views(torch.arange(200), torch.Generator().manual_seed(0))
    rising = view[:, 0, 14].diff(dim=1)
    # Contrast and brightness keep the order; only rounding and clipping make it flat.
    assert rising.min() >= -1e-6 and (rising.sum(1) > 0.1).all()


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(1, 60))
def test_balanced_order__beginnings_are_balanced_and_nested(labels, m):
    labels = torch.tensor(labels)
    order = balanced_order(labels, "test")
    assert sorted(order.tolist()) == list(range(len(labels)))
    total = torch.bincount(labels, minlength=5)
    taken = torch.bincount(labels[order[:m]], minlength=5)
    open_classes = taken[taken < total]
    if len(open_classes):
        assert taken.max() - open_classes.min() <= 1


def test_balanced_order__is_a_shuffle_of_each_class():
    labels = torch.zeros(1000, dtype=torch.int64)
    first, second = (balanced_order(labels, stream) for stream in "ab")
    assert not torch.equal(first, second) and torch.equal(first, balanced_order(labels, "a"))
    # The rank correlation of two independent orders of 1,000 has standard deviation 1 / sqrt(999).
    for one, other in ((first, torch.arange(1000)), (first, second)):
        assert abs(np.corrcoef(one, other)[0, 1]) < 5 / 999**0.5


# The real data

needs_data = pytest.mark.skipif("VCREG_DATA" not in os.environ, reason="VCREG_DATA is not set")


@needs_data
def test_mnist__real_files():
    data = mnist_views(train_limit=1000)
    assert data.train.images.shape == (1000, 1, 28, 28)
    assert torch.bincount(data.train.labels).tolist() == [100] * 10
    # Facts about the originals: the mean grey value and the number of each digit.
    assert torch.bincount(mnist().labels).tolist() == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949
    ]  # fmt: skip
    assert mnist().images.double().mean().item() / 255 == pytest.approx(0.1307, abs=5e-5)


@needs_data
def test_cifar10__real_files():
    train, test = (cifar10(train=part) for part in (True, False))
    assert torch.bincount(train.labels).tolist() == [5000] * 10
    assert torch.bincount(test.labels).tolist() == [1000] * 10
    # The published means of the channels; JPEG moves them by less than half a grey value.
    means = train.images.double().mean((0, 2, 3)) / 255
    expected = torch.tensor([0.4914, 0.4822, 0.4465], dtype=torch.float64)
    torch.testing.assert_close(means, expected, rtol=0, atol=0.5 / 255)

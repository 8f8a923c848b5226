"""Tests of the readers of IDX files, pickled batches and class folders, on small files."""

import gzip
import hashlib
import importlib
import io
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from image_archives import (
    CODES,
    class_folders,
    idx_bytes,
    image_bytes,
    python2_pickle,
    write_files,
    write_tar,
)
from PIL import Image

from vcreg_theory.datasets.cifar10 import CLASSES
from vcreg_theory.datasets.files import read_class_folders, read_idx, unpickle_batch

# The module shares its name with the function that its package exports.
members_module = importlib.import_module("vcreg_theory.datasets.files.members")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


# IDX files


@given(
    st.sampled_from(sorted(CODES)).flatmap(
        lambda code: (
            arrays(np.dtype(code), array_shapes(max_dims=4), elements={"allow_nan": False})
            if code.startswith("f")
            else arrays(np.dtype(code), array_shapes(max_dims=4))
        )
    ),
    st.booleans(),
)
def test_read_idx__returns_what_was_written(tmp_path_factory, array, packed):
    raw = idx_bytes(array)
    path = tmp_path_factory.mktemp("idx") / "file"
    path.write_bytes(gzip.compress(raw) if packed else raw)
    found = read_idx(path, md5=hashlib.md5(raw).hexdigest())
    assert found.dtype == array.dtype and np.array_equal(found, array) and found.flags.writeable


def _cut_gzip(raw):
    return gzip.compress(raw)[:-9]


def _flipped_gzip(raw):
    packed = bytearray(gzip.compress(raw))
    packed[-6] ^= 1  # within the checksum of the content
    return bytes(packed)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda raw: raw[:-1], r"23 bytes, but an array of shape \(3, 4\) takes 24"),
        (lambda raw: raw + b"?", "25 bytes"),
        (lambda raw: raw[:9], "is not an IDX file"),
        (lambda raw: b"", "is not an IDX file"),
        (lambda raw: b"\1" + raw[1:], "starts with 01 00 08 02"),
        (lambda raw: raw[:2] + b"\x0a" + raw[3:], "is not an IDX file"),
        (_cut_gzip, "damaged gzip"),
        (_flipped_gzip, "damaged gzip"),
    ],
)
def test_read_idx__refuses_damaged_files(tmp_path, damage, message):
    path = tmp_path / "file"
    path.write_bytes(damage(idx_bytes(np.arange(12, dtype=np.uint8).reshape(3, 4))))
    with pytest.raises(ValueError, match=message):
        read_idx(path)


def test_read_idx__refuses_another_content(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(idx_bytes(np.zeros(3, np.uint8)))
    with pytest.raises(ValueError, match=r"unpacked has md5 .* expected 0123"):
        read_idx(path, md5="0123")


# Pickled batches


@pytest.mark.parametrize("dump", [python2_pickle, pickle.dumps])
def test_unpickle_batch__python_2_and_3(rng, dump):
    data = rng.integers(0, 256, (300, 3072), dtype=np.uint8)
    labels = rng.integers(0, 10, 300).tolist()
    images, found = unpickle_batch("batch", dump({"data": data, "labels": labels}))
    # The first 1,024 numbers of a row are the red plane, row by row.
    assert images.shape == (300, 3, 32, 32) and images[7, 1, 2, 3] == data[7, 1024 + 2 * 32 + 3]
    assert np.array_equal(images.reshape(300, -1), data) and found.tolist() == labels


class _Calls:
    """Calls a function when it is unpickled."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "call",
    [(os.mkdir, "made"), (eval, "__import__('os').mkdir('made')"), (getattr, os, "sep"), (Path,)],
)
def test_unpickle_batch__runs_nothing(tmp_path, monkeypatch, call):
    monkeypatch.chdir(tmp_path)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        try:
            content = pickle.dumps({"data": _Calls(*call)}, protocol=protocol)
        except TypeError:  # the module os itself cannot be pickled
            content = b"cos\ngetpid\n."
        with pytest.raises(ValueError, match="is not allowed here"):
            unpickle_batch("batch", content)
    assert not list(tmp_path.iterdir())


GOOD = np.zeros((2, 3072), np.uint8)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "EOFError"),
        (pickle.dumps(GOOD)[:-50], "is refused"),
        (b"Pouter\n.", "references to outside"),
        (pickle.dumps([1]), "must hold a dictionary, got list"),
        (pickle.dumps({"labels": [1, 2]}), r"uint8 data of shape \(n, 3072\), got .*NoneType"),
        (pickle.dumps({"data": GOOD.astype(float), "labels": [1, 2]}), r"float64 \(2, 3072\)"),
        (pickle.dumps({"data": GOOD[:, 1:], "labels": [1, 2]}), r"uint8 \(2, 3071\)"),
        (pickle.dumps({"data": GOOD, "labels": (1, 2)}), "a list of integers"),
        (pickle.dumps({"data": GOOD, "labels": [1, 2.0]}), "a list of integers"),
        (pickle.dumps({"data": GOOD, "labels": [1]}), "one label of 0 to 9 for each of 2"),
        (pickle.dumps({"data": GOOD, "labels": [1, 10]}), "one label of 0 to 9"),
    ],
)
def test_unpickle_batch__refuses_what_is_no_batch(content, message):
    with pytest.raises(ValueError, match=message):
        unpickle_batch("batch", content)


# Class folders


@pytest.mark.parametrize("form", ["folder", ".tar", ".tar.gz", ".tar.xz", ".tar.bz2"])
@pytest.mark.parametrize("prefix", ["", "./", "CIFAR-10-images-master/"])
def test_read_class_folders__any_container_and_order(tmp_path, rng, form, prefix):
    made = class_folders(rng)
    files = [(prefix + name, content) for name, (content, _) in made.items()]
    files = [files[k] for k in rng.permutation(len(files))]
    files += [(f"{prefix}README.md", b""), (f"{prefix}train/bird/._0000.png", b"of a Macintosh")]
    path = tmp_path / f"data{form}"
    source = write_files(tmp_path, files) if form == "folder" else write_tar(path, files)
    found, kind = read_class_folders(source, CLASSES, (32, 32))
    assert kind == "PNG"
    for part in ("train", "test"):
        expected = [pixels for name, (_, pixels) in made.items() if name.startswith(part)]
        assert np.array_equal(found[f"{part}_images"], np.stack(expected).transpose(0, 3, 1, 2))
        assert found[f"{part}_labels"].tolist() == [label for label in range(10) for _ in "ab"]


def test_read_class_folders__jpeg_is_named_and_close(tmp_path, rng):
    made = class_folders(rng, n=1)
    file = io.BytesIO()
    smooth = np.add.outer(np.arange(32), 2 * np.arange(32)).astype(np.uint8)
    smooth = np.stack((smooth, smooth + 9, smooth + 90), 2)
    Image.fromarray(smooth).save(file, "JPEG", quality=95, subsampling=0)
    files = [(name, content) for name, (content, _) in made.items()]
    files[0] = ("train/airplane/0000.JPG", file.getvalue())
    found, kind = read_class_folders(write_tar(tmp_path / "data.tar", files), CLASSES, (32, 32))
    # The quantisation steps at quality 95 are at most 12, and the content is smooth.
    difference = found["train_images"][0].transpose(1, 2, 0).astype(int) - smooth
    assert kind == "JPEG" and np.abs(difference).max() <= 12


def test_read_class_folders__grey_and_palette_images_become_rgb(tmp_path, rng):
    made = class_folders(rng, n=1)
    files = {name: content for name, (content, _) in made.items()}
    files["train/airplane/0000.png"], grey = image_bytes(rng, mode="L")
    found, _ = read_class_folders(
        write_tar(tmp_path / "data.tar", files.items()), CLASSES, (32, 32)
    )
    assert (found["train_images"][0] == grey).all()


def _without(name):
    return lambda files: {k: v for k, v in files.items() if not k.startswith(name)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without("train/dog"), "no images in train/dog"),
        (_without("test"), "no images in test/airplane"),
        (lambda files: {**files, "train/plane/1.png": b""}, "unknown class folder train/plane"),
        (lambda files: {**files, "train/dog/9.png": b"no image"}, "train/dog/9.png cannot be"),
        (
            lambda files: {**files, "test/cat/9.png": files["test/cat/0000.png"][:-400]},
            "test/cat/9.png cannot be decoded",
        ),
        (
            lambda files: {
                **files,
                "test/cat/9.png": image_bytes(np.random.default_rng(0), size=(31, 32))[0],
            },
            "must have size 32 x 32, got 31 x 32",
        ),
        (lambda files: {**files, "b/test/cat/0000.png": files["test/cat/0000.png"]}, "two images"),
        (lambda files: {**files, "train/dog/../9.png": b""}, "leads out of it"),
        (lambda files: {**files, "/etc/passwd": b""}, "leads out of it"),
        (lambda files: {**files, "train/dog/9.png": bytes(4000)}, "has 4000 bytes, more than"),
    ],
)
def test_read_class_folders__refuses(tmp_path, rng, monkeypatch, change, message):
    if "more than" in message:
        monkeypatch.setattr(members_module, "LARGEST", 3999)  # above all proper images here
    files = {name: content for name, (content, _) in class_folders(rng, n=1, kind="png").items()}
    source = write_tar(tmp_path / "data.tar.gz", change(files).items())
    with pytest.raises(ValueError, match=message):
        read_class_folders(source, CLASSES, (32, 32))
    assert [path.name for path in tmp_path.rglob("*")] == ["data.tar.gz"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_read_class_folders__refuses_links_and_devices(tmp_path, kind):
    with tarfile.open(tmp_path / "data.tar", "w") as archive:
        entry = tarfile.TarInfo("train/dog/1.png")
        entry.type, entry.linkname = kind, "/etc/passwd"
        archive.addfile(entry)
    with pytest.raises(ValueError, match=r"'train/dog/1.png' is not a file"):
        read_class_folders(tmp_path / "data.tar", CLASSES, (32, 32))


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tar.xz"])
def test_read_class_folders__refuses_damaged_archives(tmp_path, rng, suffix):
    path = write_tar(
        tmp_path / f"data{suffix}", [(n, c) for n, (c, _) in class_folders(rng).items()]
    )
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match="is not a readable tar archive"):
        read_class_folders(path, CLASSES, (32, 32))
    path.write_bytes(b"no archive at all")
    with pytest.raises(ValueError, match="is not a readable tar archive"):
        read_class_folders(path, CLASSES, (32, 32))

"""Files appear whole under their name, or not at all."""

import os
import stat

import pytest

from vcreg_theory import files


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data.bin"


def test_write__an_interruption_leaves_no_temporary_file(path, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        files.write(path, b"new")
    assert os.listdir(path.parent) == []


def test_write__syncs_the_file_before_and_the_folder_after_the_renaming(path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace

    def record_sync(descriptor):
        calls.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def record_replace(source, target):
        assert source.read_bytes() == b"new" and source.parent == path.parent
        calls.append("replace")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", record_sync)
    monkeypatch.setattr(os, "replace", record_replace)
    files.write(path, b"new")
    assert calls == ["file", "replace", "folder"] and path.read_bytes() == b"new"


def test_write__makes_folders_follows_links_and_honours_the_umask(tmp_path):
    target = tmp_path / "a" / "b" / "file"
    files.write(target, b"1")
    link = tmp_path / "link"
    link.symlink_to(target)
    files.write(os.fspath(link), b"2")
    assert link.is_symlink() and target.read_bytes() == b"2"
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    assert target.stat().st_mode == plain.stat().st_mode


def test_write__names_the_path_it_cannot_write(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError, match=r"could not write.*file/below"):
        files.write(tmp_path / "file" / "below", b"")
    with pytest.raises(IsADirectoryError, match="could not write"):
        files.write(tmp_path, b"")
    assert os.listdir(tmp_path) == ["file"]


def test_writing__an_error_of_the_caller_keeps_the_old_file(path):
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError, match="half way"), files.writing(path) as file:
        file.write(b"new")
        raise RuntimeError("half way")
    assert path.read_bytes() == b"old" and os.listdir(path.parent) == ["data.bin"]


def test_read__names_what_is_missing(path):
    with pytest.raises(FileNotFoundError, match=r"could not read the record.*data\.bin"):
        files.read(path, "record")
    path.write_bytes(b"12345")
    assert files.read(path, "record") == b"12345" and files.read(path, "record", 2) == b"12"

"""Tests of the download, against a server on this machine that can break off and refuse."""

import hashlib
import re
import sys
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from vcreg_theory.datasets.download import checksum, fetch

CONTENT = bytes(range(256)) * 4000  # about a megabyte, so that it does not fit one block
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT).hexdigest()


class _Server(ThreadingHTTPServer):
    """Serve `content` under any path, as the fields say; keep the requested ranges."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content, self.ranges, self.asked = CONTENT, True, []
        self.break_after = self.status = self.claimed_range = None
        self.length = True

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/data.bin"


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        server, start = self.server, 0
        server.asked.append(self.headers["Range"])
        if server.status:
            return self.send_error(server.status)
        if server.ranges and self.headers["Range"]:
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            if start >= len(server.content):
                return self.send_error(416)
        body = server.content[start:]
        self.send_response(206 if start else 200)
        if start:
            sent = f"bytes {start}-{len(server.content) - 1}/{len(server.content)}"
            self.send_header("Content-Range", server.claimed_range or sent)
        if server.length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: server.break_after])


@pytest.fixture(autouse=True)
def _direct(monkeypatch):
    """Ask the server on this machine directly, whatever proxy the environment names."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def server():
    with _Server() as running:
        thread = threading.Thread(target=partial(running.serve_forever, poll_interval=0.01))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "data.bin"


def _part(path):
    return path.with_name("data.bin.part")


@pytest.mark.parametrize("sums", [{"sha256": SHA256}, {"md5": MD5.upper()}])
@pytest.mark.parametrize("length", [True, False])
def test_fetch__whole_file(server, path, sums, length):
    server.length = length
    assert fetch(server.url, path, progress=False, **sums) == path
    assert path.read_bytes() == CONTENT and checksum(path) == SHA256
    assert [p.name for p in path.parent.iterdir()] == ["data.bin"]
    server.status = 500  # a second call asks nobody
    assert fetch(server.url, path, progress=False, **sums) == path
    assert server.asked == [None]


def test_fetch__goes_on_where_it_broke_off(server, path):
    server.break_after = 300_000
    with pytest.raises(ConnectionError, match=r"broke off after 300000 of 1024000 bytes"):
        fetch(server.url, path, sha256=SHA256, progress=False)
    assert not path.exists() and _part(path).read_bytes() == CONTENT[:300_000]
    server.break_after = None
    fetch(server.url, path, sha256=SHA256, progress=False)
    assert path.read_bytes() == CONTENT and not _part(path).exists()
    assert server.asked == [None, "bytes=300000-"]


def test_fetch__starts_again_if_the_server_sends_all(server, path):
    server.ranges = False
    path.parent.mkdir()
    _part(path).write_bytes(CONTENT[:5000])
    fetch(server.url, path, sha256=SHA256, progress=False)
    assert path.read_bytes() == CONTENT and server.asked == ["bytes=5000-"]


def test_fetch__starts_again_when_told_to(server, path):
    path.parent.mkdir()
    _part(path).write_bytes(b"another file")
    fetch(server.url, path, sha256=SHA256, resume=False, progress=False)
    assert path.read_bytes() == CONTENT and server.asked == [None]


def test_fetch__a_complete_part_is_put_in_place(server, path):
    path.parent.mkdir()
    _part(path).write_bytes(CONTENT)
    fetch(server.url, path, sha256=SHA256, progress=False)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("start", [b"wrong start", CONTENT + b"too long"])
def test_fetch__a_wrong_part_is_removed(server, path, start):
    path.parent.mkdir()
    _part(path).write_bytes(start)
    with pytest.raises(ValueError, match=r"sha256 .* call again"):
        fetch(server.url, path, sha256=SHA256, progress=False)
    assert not list(path.parent.iterdir())
    fetch(server.url, path, sha256=SHA256, progress=False)
    assert path.read_bytes() == CONTENT


def test_fetch__wrong_checksum_leaves_no_file(server, path):
    server.content = CONTENT[:-1] + b"?"
    with pytest.raises(ValueError, match=f"expected {MD5}"):
        fetch(server.url, path, sha256=hashlib.sha256(server.content).hexdigest(), md5=MD5)
    assert not list(path.parent.iterdir())


def test_fetch__too_short_without_a_length_leaves_no_file(server, path):
    server.length, server.break_after = False, 1000
    with pytest.raises(ValueError, match=f"expected {SHA256}"):
        fetch(server.url, path, sha256=SHA256, progress=False)
    assert not list(path.parent.iterdir())


def test_fetch__another_range_than_asked_is_refused(server, path):
    server.claimed_range = "bytes 0-10/11"
    path.parent.mkdir()
    _part(path).write_bytes(CONTENT[:5000])
    with pytest.raises(ConnectionError, match="bytes 0-10/11"):
        fetch(server.url, path, sha256=SHA256, progress=False)
    assert _part(path).read_bytes() == CONTENT[:5000] and not path.exists()


@pytest.mark.parametrize("status", [404, 503])
def test_fetch__refusals_name_the_file(server, path, status):
    server.status = status
    with pytest.raises(
        ConnectionError, match=rf"{status}.*put a copy of the file at {re.escape(str(path))}"
    ):
        fetch(server.url, path, sha256=SHA256, progress=False)
    assert not path.exists()


def test_fetch__without_a_server_names_the_file(path):
    with _Server() as closed:
        url = closed.url
    with pytest.raises(ConnectionError, match=re.escape(f"put a copy of the file at {path}")):
        fetch(url, path, sha256=SHA256, progress=False)


def test_fetch__keeps_a_file_that_is_not_the_one(server, path):
    path.parent.mkdir()
    path.write_text("mine")
    with pytest.raises(ValueError, match=re.escape(f"remove {path}")):
        fetch(server.url, path, sha256=SHA256, progress=False)
    assert path.read_text() == "mine" and not server.asked


def test_fetch__shows_progress_if_tqdm_is_there(server, path, capsys, monkeypatch):
    fetch(server.url, path, sha256=SHA256)
    assert "data.bin" in capsys.readouterr().err
    path.unlink()
    monkeypatch.setitem(sys.modules, "tqdm", None)  # importing it now fails
    fetch(server.url, path, sha256=SHA256)
    assert path.exists() and not capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"sha256": None}, ValueError, "give sha256 or md5"),
        ({"url": "file:///etc/hostname"}, ValueError, "must begin with http"),
        ({"timeout": 0}, ValueError, "timeout must be positive"),
    ],
)
def test_fetch__refuses_bad_input(path, change, error, message):
    arguments = {"url": "http://127.0.0.1:1/data.bin", "sha256": SHA256, **change}
    with pytest.raises(error, match=message):
        fetch(arguments.pop("url"), path, **arguments)

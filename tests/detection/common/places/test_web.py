"""Photos behind https:// and sftp://: real servers, redirects, cut and slow answers, and the addresses' secrets."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap

import pytest

from detection.common.errors import UsageError, need
from detection.common.places.address import restored, scheme_of, without_secrets
from detection.common.places.paths import path_of
from detection.common.places.remote import host_keys
from detection.images.read import load_image
from tests.folder_runs import ROOT, rows, run, tree
from tests.servers import Proxy, SftpServer, WebServer

OWN = ("settings.json", "journal.jsonl")


@pytest.fixture
def web(cars, tmp_path):
    pytest.importorskip("aiohttp")
    shutil.copytree(cars, tmp_path / "www" / "photos")
    server = WebServer(tmp_path / "www", moved={"/old.png": "/photos/car3.png"})
    yield server
    server.close()


def _same(one, other) -> bool:
    first, second = tree(one), tree(other)
    return first.keys() == second.keys() and all(first[name] == second[name] for name in first if name not in OWN)


def test_index_pages_are_folders(web, cars, tmp_path):
    run(cars, tmp_path / "here")
    run(f"{web.url}/photos/", tmp_path / "there")
    assert _same(tmp_path / "here", tmp_path / "there")
    assert run(f"{web.url}/photos/", tmp_path / "there").processed == 0


def test_a_photo_and_a_redirect_to_one(web, cars, tmp_path):
    for name, photo in (("photos/car2.png", "car2.png"), ("old.png", "car3.png")):
        assert (load_image(f"{web.url}/{name}") == load_image(cars / photo)).all()
    assert run(f"{web.url}/old.png", tmp_path / "out").counts == {"ok": 1}


def test_cut_and_refused_answers_are_asked_for_again(web, cars, tmp_path):
    proxy = Proxy(web.port)
    seen = set()

    def fault(number, method, path):
        if method != "GET" or path in seen or path.endswith("/"):
            return None
        seen.add(path)
        return ("cut", 503, 500)[len(seen) % 3]

    proxy.fault = fault
    try:
        run(f"{proxy.url}/photos/", tmp_path / "there")
    finally:
        proxy.close()
    run(cars, tmp_path / "here")
    assert rows(tmp_path / "here") == rows(tmp_path / "there") and len(seen) >= 7


def test_nothing_is_written_to_a_web_server(web, cars):
    with pytest.raises(UsageError, match="can be read, and not written"):
        run(cars, f"{web.url}/out")


def test_a_signature_is_shown_nowhere(web, cars, tmp_path, capsys):
    address = f"{web.url}/photos/car1.png?X-Amz-Signature=0123456789abcdef&X-Amz-Credential=me"
    run(address, tmp_path / "out")
    (tmp_path / "list.txt").write_text(f"{address}\n{web.url}/photos/none.png?sig=0123456789abcdef\n")
    summary = run(tmp_path / "list.txt", tmp_path / "out2")
    assert summary.counts == {"ok": 1, "unreadable": 1}
    written = b"".join([*tree(tmp_path / "out").values(), *tree(tmp_path / "out2").values()])
    told = "".join(capsys.readouterr()) + str(path_of(address))
    assert b"0123456789abcdef" not in written and "0123456789abcdef" not in told
    assert set(rows(tmp_path / "out")) == {"car1.png"}


def test_a_user_and_a_password_are_shown_nowhere(tmp_path, monkeypatch):
    monkeypatch.setenv("CARCLF_PATIENCE", "0")
    pytest.importorskip("paramiko")
    with pytest.raises(UsageError) as caught:
        run("sftp://me:pass-word@127.0.0.1:9/photos", tmp_path / "out")
    assert "pass-word" not in str(caught.value) and "me:" not in str(caught.value)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret-value")
    assert without_secrets("it said very-secret-value") == "it said ***"


@pytest.mark.skipif(not SftpServer.PROGRAM.is_file(), reason="no sshd here")
def test_sftp_is_read_and_written(cars, tmp_path, monkeypatch):
    pytest.importorskip("paramiko")
    import fsspec
    from fsspec.implementations.sftp import SFTPFileSystem

    keys = tmp_path / "keys"
    keys.mkdir()
    server = SftpServer(keys)
    real = SFTPFileSystem._get_kwargs_from_urls
    # The key of this test's own server, which a user has in ~/.ssh or an agent.
    monkeypatch.setattr(
        SFTPFileSystem,
        "_get_kwargs_from_urls",
        staticmethod(lambda url: {**real(url), "key_filename": str(keys / "user"), "allow_agent": False}),
    )
    root = f"sftp://{server.user}@127.0.0.1:{server.port}"
    monkeypatch.setattr(host_keys, "FILES", (tmp_path / "known_hosts",))
    try:
        with pytest.raises(UsageError, match=r"'\[127\.0\.0\.1\]:\d+' is not in ~/\.ssh/known_hosts .*`ssh -p \d+ 127"):
            run(f"{root}{cars}", tmp_path / "unknown")
        key = (keys / "host.pub").read_text()
        (tmp_path / "known_hosts").write_text(f"[127.0.0.1]:{server.port} {key}")
        run(cars, tmp_path / "here")
        run(f"{root}{cars}", tmp_path / "there")
        assert _same(tmp_path / "here", tmp_path / "there")
        run(cars, f"{root}{tmp_path}/far")
        assert tree(tmp_path / "far") == tree(tmp_path / "here")
        assert run(cars, f"{root}{tmp_path}/far").processed == 0
        with pytest.raises(UsageError, match=r"'sftp://127\.0\.0\.1:\d+/other' can't be reached: "):
            run(f"sftp://nobody-of-all:wrong@127.0.0.1:{server.port}/other", tmp_path / "none")
    finally:
        fsspec.get_filesystem_class("sftp").clear_instance_cache()
        server.close()


def test_addresses_as_they_come():
    assert restored("s3:/bucket/a b") == restored("s3://bucket/a b") == "s3://bucket/a b"
    assert scheme_of("C:/photos") == scheme_of("photos/s3:/x") == scheme_of("ftp://x") == ""
    assert without_secrets("https://h/a?page=2&sig=1") == "https://h/a?page=2&sig=***"


def test_what_lacks_is_named_with_its_extra():
    with pytest.raises(
        UsageError, match=r'needs no_such_module, which is not installed: run `pip install "\.\[cloud\]"`'
    ):
        need("no_such_module", "'s3://'", extra="cloud")


def test_a_path_that_is_none_imports_nothing_of_it():
    code = """
        import sys
        from detection.common.files import file_stamp, user_path
        user_path("photos/a.jpg"), file_stamp(user_path("photos/a.jpg"))
        assert not {"fsspec", "pyarrow", "aiohttp", "s3fs"} & set(sys.modules), sorted(sys.modules)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, cwd=ROOT)

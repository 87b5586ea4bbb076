"""`carclf data fetch`: cut downloads go on, archives that lie are refused, and no secret is told."""

from __future__ import annotations

import hashlib
import io
import os
import re
import tarfile
import zipfile
from itertools import islice
from pathlib import Path

import pytest
from typer.testing import CliRunner

from carclf.cli import app
from carclf.datasets import read_table
from carclf.tools.fetch import part
from carclf.tools.fetch.place import PlaceFile
from detection.common.places import paths
from detection.common.places.remote.store import RemoteStore
from tests.carclf.drawn import draw_folders
from tests.carclf.tools.file_server import SIGNATURE, TOKEN, file_server
from tests.detection.common.places.conftest import own_world, s3, s3_server  # noqa: F401


@pytest.fixture
def server():
    with file_server() as server:
        yield server


@pytest.fixture
def pauses(monkeypatch):
    """The seconds that were waited for, without waiting."""
    waited: list[float] = []
    monkeypatch.setattr(part.time, "sleep", waited.append)
    monkeypatch.setattr(part, "PAUSES", (1.0, 2.0, 4.0))
    return waited


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> dict[str, bytes]:
    root = draw_folders(tmp_path_factory.mktemp("drawn"), each=3, classes=("red", "blue"))
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*.jpg"))}


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as content:
        for name, data in members.items():
            content.writestr(name, data)
    return buffer.getvalue()


def tarred(members: dict[str, bytes], mode: str = "w:gz", **more) -> bytes:
    """more: name -> the type of a member without content."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as content:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            content.addfile(info, io.BytesIO(data))
        for name, kind in more.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            content.addfile(info)
    return buffer.getvalue()


def carclf(*arguments):
    result = CliRunner().invoke(app, ["data", "fetch", *(str(argument) for argument in arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def refused(*arguments) -> str:
    """The one sentence with which it ends; what was tried before it is told above."""
    result = carclf(*arguments)
    assert result.exit_code == 2 and result.stdout == "", result.output
    said = result.stderr.splitlines()[-1]
    assert said.endswith((".", "?")) and SIGNATURE not in result.stderr and TOKEN not in result.stderr
    return said


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("pack", [zipped, tarred, lambda members: tarred(members, "w"), lambda m: tarred(m, "w:xz")])
def test_an_archive_becomes_a_folder_to_train_on(server, photos, tmp_path, pack):
    server.files["/cars"] = pack({f"./cars-1.2/{name}": data for name, data in photos.items()})
    result = carclf(f"{server.url}/cars?token=secret", tmp_path / "in" / "cars")
    assert result.exit_code == 0, result.output
    assert "6 labelled photos of 2 classes" in result.stdout and "secret" not in result.output
    table = read_table(tmp_path / "in" / "cars")
    got = {Path(file).relative_to(tmp_path / "in" / "cars").as_posix(): Path(file) for file in table["file"]}
    assert {name: path.read_bytes() for name, path in got.items()} == photos
    assert names(tmp_path / "in") == ["cars"]  # no part, no lock, no temporary folder
    assert b"secret" not in (tmp_path / "in" / "cars" / ".carclf-fetched.json").read_bytes()


def test_a_cut_download_goes_on_where_it_was(server, photos, tmp_path, pauses):
    data = server.files["/cars.zip"] = zipped(photos)
    server.cuts = [1000, 500]
    result = carclf(f"{server.url}/cars.zip", tmp_path / "cars")
    assert result.exit_code == 0
    assert server.ranges_asked() == [None, "bytes=1000-", "bytes=1500-"] and len(pauses) == 2
    assert len(read_table(tmp_path / "cars")) == 6 and len(data) > 1500


def test_a_command_that_was_ended_goes_on(server, photos, tmp_path, monkeypatch):
    """As if it were killed in its first pause: the part and its note stay, and the next command asks for the rest."""
    server.files["/cars.zip"], server.cuts = zipped(photos), [1000]

    class Killed(BaseException):
        pass

    def kill(_):
        raise Killed

    monkeypatch.setattr(part.time, "sleep", kill)
    with pytest.raises(Killed):
        CliRunner().invoke(app, ["data", "fetch", f"{server.url}/cars.zip", str(tmp_path / "cars")])
    assert names(tmp_path) == [".carclf-cars.fetch"]
    assert (tmp_path / ".carclf-cars.fetch" / "cars.archive").stat().st_size == 1000
    assert carclf(f"{server.url}/cars.zip", tmp_path / "cars").exit_code == 0
    assert server.ranges_asked() == [None, "bytes=1000-"]
    assert names(tmp_path) == ["cars"]


def test_a_file_that_changed_meanwhile_is_fetched_anew(server, photos, tmp_path, pauses):
    server.files["/cars.zip"], server.cuts = zipped(photos), [1000]
    original = part.Part._pause

    def change(self, error, tries):
        server.files["/cars.zip"] = zipped(dict(list(photos.items())[:4]))
        original(self, error, tries)

    part_pause = pytest.MonkeyPatch()
    part_pause.setattr(part.Part, "_pause", change)
    try:
        assert carclf(f"{server.url}/cars.zip", tmp_path / "cars").exit_code == 0
    finally:
        part_pause.undo()
    assert len(read_table(tmp_path / "cars")) == 4


def test_a_server_without_ranges_gives_all_again(server, photos, tmp_path, pauses):
    server.files["/cars.zip"], server.cuts, server.ranges = zipped(photos), [1000], False
    assert carclf(f"{server.url}/cars.zip", tmp_path / "cars").exit_code == 0
    assert len(read_table(tmp_path / "cars")) == 6


def test_a_server_that_never_gets_on_is_left_and_the_part_is_kept(server, photos, tmp_path, pauses):
    server.files["/cars.zip"] = zipped(photos)
    server.cuts = [1000] + [0] * 20
    said = refused(f"{server.url}/cars.zip", tmp_path / "cars")
    assert "closed before the end" in said and "1,000 bytes are kept" in said
    assert pauses == list(part.PAUSES)
    server.cuts = []
    assert carclf(f"{server.url}/cars.zip", tmp_path / "cars").exit_code == 0


def test_what_came_damaged_is_not_kept(server, photos, tmp_path):
    server.files["/cars.zip"], server.digest = zipped(photos), "Ojk9c3dhfxgoKVVHYwFbHQ=="
    assert "damaged on its way" in refused(f"{server.url}/cars.zip", tmp_path / "cars")
    assert list((tmp_path / ".carclf-cars.fetch").iterdir()) == []


@pytest.mark.parametrize(
    ("status", "headers", "said"),
    [
        (404, {}, "There is nothing at"),
        (403, {}, "is the address signed"),
        (429, {"Retry-After": "900"}, "again in 900 seconds"),
        (503, {}, "in trouble (status 503)"),
        (302, {"Location": "ftp://127.0.0.1/x"}, "not https"),
        (302, {"Location": "file:///etc/passwd"}, "not followed"),
        (400, {}, "status 400"),
    ],
)
def test_what_a_server_refuses(server, tmp_path, pauses, status, headers, said):
    server.failures["/cars.zip"] = [(status, headers, b"")] * 10
    assert said in refused(f"{server.url}/cars.zip?key=5ecret", tmp_path / "cars")
    assert not (tmp_path / "cars").exists()


def test_busy_servers_are_asked_again_when_they_say(server, photos, tmp_path, pauses):
    server.files["/cars.zip"] = zipped(photos)
    server.failures["/cars.zip"] = [(429, {"Retry-After": "7"}, b""), (502, {}, b"")]
    assert carclf(f"{server.url}/cars.zip", tmp_path / "cars").exit_code == 0
    assert pauses == [7, 2]


def test_nobody_there(tmp_path, pauses):
    with file_server() as server:
        url = server.url
    assert "can't be reached" in refused(f"{url}/cars.zip", tmp_path / "cars")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("https://user:5ecret@cars.example/a.zip", "holds a user or password"),
        ("https:///a.zip", "no address"),
        ("https://cars.example/a b.zip", "no address"),
        ("https://cars.example:99999/a.zip", "no address"),
        ("ftp://cars.example/a.zip", "can't be fetched: give kaggle:"),
        ("photos", "can't be fetched: give kaggle:"),
        ("kaggle:", "no name of Kaggle's"),
        ("kaggle:a/b/c", "no name of Kaggle's"),
        ("kaggle:../x", "no name of Kaggle's"),
    ],
)
def test_what_names_nothing(tmp_path, source, said):
    told = refused(source, tmp_path / "cars")
    assert said in told and "5ecret" not in told
    assert names(tmp_path) == []


def test_too_large_is_told_before_and_while_it_comes(server, photos, tmp_path, monkeypatch):
    server.files["/cars.zip"] = zipped(photos | {"big": bytes(1_100_000)})
    assert "raise --max-gb" in refused(f"{server.url}/cars.zip", tmp_path / "cars", "--max-gb", "0.001")
    assert server.ranges_asked() == [None]
    from collections import namedtuple

    monkeypatch.setattr(part.shutil, "disk_usage", lambda path: namedtuple("Usage", "free")(10))
    assert "make room" in refused(f"{server.url}/cars.zip", tmp_path / "cars")


def test_a_length_that_is_not_told(server, photos, tmp_path):
    """Chunked: no resume, but a limit."""
    data = zipped(photos | {"big": bytes(1_100_000)})
    body = b"".join(
        b"%x\r\n%b\r\n" % (len(data[at : at + 9999]), data[at : at + 9999]) for at in range(0, len(data), 9999)
    )
    chunked = (200, {"Transfer-Encoding": "chunked", "Content-Length": ""}, body + b"0\r\n\r\n")
    server.failures["/cars.zip"] = [chunked] * 2
    assert "raise --max-gb" in refused(f"{server.url}/cars.zip", tmp_path / "cars", "--max-gb", "0.001")
    assert carclf(f"{server.url}/cars.zip", tmp_path / "cars").exit_code == 0


def test_a_page_for_people_is_no_archive(server, tmp_path):
    server.files["/cars.zip"], server.kind = b"<html>sign in</html>", "text/html; charset=utf-8"
    assert "gives a web page" in refused(f"{server.url}/cars.zip", tmp_path / "cars")
    server.kind = "application/zip"
    assert "neither a zip nor a tar" in refused(f"{server.url}/cars.zip", tmp_path / "cars")
    assert names(tmp_path) == []


BOMB = tarred({"a.csv": bytes(3_000_000)})


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (zipped({"../out.jpg": b"x"}), "leads out"),
        (tarred({"../out.jpg": b"x"}), "leads out"),
        (tarred({"/tmp/out.jpg": b"x"}), "leads out"),
        (tarred({"red/../../out.jpg": b"x"}), "leads out"),
        (tarred({"red/1.jpg": b"x"}, **{"red/2.jpg": tarfile.SYMTYPE}), "holds the link 'red/2.jpg'"),
        (tarred({"red/1.jpg": b"x"}, **{"red/2.jpg": tarfile.LNKTYPE}), "holds the link 'red/2.jpg'"),
        (tarred({"red/1.jpg": b"x"}, **{"red/2.jpg": tarfile.CHRTYPE}), "holds the device 'red/2.jpg'"),
        (tarred({"red/1.jpg": b"x"}, **{"red/2.jpg": tarfile.FIFOTYPE}), "holds the device 'red/2.jpg'"),
        (tarred({"red/1.jpg": b"0123456789" * 500})[:-30], "its end is missing"),
        (tarred({"red/1.jpg": bytes(5000)}, "w")[:3000], "is damaged"),
        (tarred({"red/1.jpg": bytes(100), "red/2.jpg": b"x"}, "w")[:1024], "is damaged"),
        (tarred({"red/1.jpg": b"x"}, "w")[:1024] + b"no header " * 200, "is damaged"),
        (tarred({"red/1.jpg": b"x", "red/./1.jpg": b"y"}), "twice"),
        (BOMB, "more than 100 times"),
    ],
    ids=range(14),
)
def test_what_is_not_to_be_trusted_is_refused(server, tmp_path, monkeypatch, data, said):
    from carclf.datasets.layouts import archive

    monkeypatch.setattr(archive, "FREE_GROWTH", 100_000)
    server.files["/cars.tar.gz"] = data
    assert said in refused(f"{server.url}/cars.tar.gz", tmp_path / "in" / "cars")
    kept = [".carclf-cars.fetch"] if "holds the" in said else []  # to be unpacked by hand, as it says
    assert names(tmp_path / "in") == kept and names(tmp_path) == ["in"]


def test_a_header_that_wants_all_memory_is_refused(server, tmp_path):
    """The size of a tar's extended header is read at once."""
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 8_000_000_000
    server.files["/cars.tar"] = tarred({"red/1.jpg": b"x"}, "w")[:1024] + info.tobuf() + bytes(2048)
    assert "is damaged" in refused(f"{server.url}/cars.tar", tmp_path / "cars")


def test_no_room_to_unpack_keeps_the_download(server, photos, tmp_path, monkeypatch):
    from carclf.datasets.layouts import archive

    server.files["/cars.zip"] = zipped(photos)
    with monkeypatch.context() as patch:
        patch.setattr(
            archive._Allowance, "check_room", lambda *_: (_ for _ in ()).throw(archive.Unpackable("make room."))
        )
        assert "make room" in refused(f"{server.url}/cars.zip", tmp_path / "cars")
    assert carclf(f"{server.url}/cars.zip", tmp_path / "cars").exit_code == 0
    assert server.ranges_asked() == [None]


def test_the_folder(server, photos, tmp_path):
    """A finished one stays as it is, an empty one is taken, and what is another's is not touched."""
    server.files["/cars.zip"] = server.files["/vans.zip"] = zipped(photos)
    (tmp_path / "cars").mkdir()
    assert carclf(f"{server.url}/cars.zip", tmp_path / "cars").exit_code == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cars").rglob("*")}
    again = carclf(f"{server.url}/cars.zip", tmp_path / "cars")
    assert again.exit_code == 0 and "fetched before" in again.stderr and len(server.asked) == 1
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "cars").rglob("*")}
    assert "another address" in refused(f"{server.url}/vans.zip", tmp_path / "cars")
    assert "another address" in refused(f"{server.url}/cars.zip?version=2", tmp_path / "cars")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    assert "holds other files" in refused(f"{server.url}/cars.zip", tmp_path / "mine")
    assert "is a file" in refused(f"{server.url}/cars.zip", tmp_path / "mine" / "notes.txt")


def test_two_at_a_time_do_not_mix(server, photos, tmp_path):
    from detection.common.files.locks import Lock

    server.files["/cars.zip"] = zipped(photos)
    other = Lock.beside(tmp_path / ".carclf-cars.fetch")
    assert other.take()
    assert "Another process fetches" in refused(f"{server.url}/cars.zip", tmp_path / "cars")
    other.release()
    assert server.asked == []


def test_a_layout_that_training_does_not_know_is_told(server, photos, tmp_path):
    server.files["/cars.zip"] = zipped({f"{number}.jpg": data for number, data in enumerate(photos.values())})
    result = carclf(f"{server.url}/cars.zip", tmp_path / "cars")
    assert result.exit_code == 3 and "not in class folders" in result.stdout
    assert len(names(tmp_path / "cars")) == 7


# ---------------------------------------------------------------- Kaggle


@pytest.fixture
def kaggle(server, photos, tmp_path, monkeypatch):
    """The stand-in in Kaggle's place, with a competition of zips in the zip and a data set; and a token."""
    kaggle_env = pytest.importorskip("kagglesdk.kaggle_env")
    pytest.importorskip("kagglehub")
    monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.PROD, server.url)
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_CONFIG_DIR", "KAGGLE_API_ENVIRONMENT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr("kagglehub.config.DEFAULT_KAGGLE_CREDENTIALS_FOLDER", str(tmp_path / "home" / ".kaggle"))
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    server.datasets = {"maker/ten-cars": 3, "maker/ten-carts": 1, "other/boats": 1}
    server.competitions = ["car-models", "car-prices", "titanic"]
    train = zipped({f"train/{name.replace('red', '0').replace('blue', '9')}": data for name, data in photos.items()})
    listed = "Id,Category\n" + "".join(f"{number}.jpg,{category}\n" for category in (0, 9) for number in range(3))
    rows = "Id,Category\n0.jpg,0\n1.jpg,0\n2.jpg,0\n"
    assert listed.count("\n") == 7
    server.files["/storage/car-models.zip"] = zipped(
        {
            "train.zip": train,
            "train.csv": rows.encode(),
            "sample-submission.csv": b"Id,Category\n77.jpg,0\n",
            "test.zip": zipped({"test_upload/77.jpg": photos["red/0.jpg"]}),
        }
    )
    server.files["/storage/maker/ten-cars/3.zip"] = zipped(photos)
    return server


DOWNLOAD = "/v1/competitions.CompetitionApiService/DownloadDataFiles"
GET = "/v1/datasets.DatasetApiService/GetDataset"


def test_a_data_set_of_kaggle(kaggle, tmp_path):
    result = carclf("kaggle:maker/ten-cars", tmp_path / "cars")
    assert result.exit_code == 0 and "6 labelled photos of 2 classes" in result.stdout
    posts = [path for method, path, _ in kaggle.asked if method == "POST"]
    assert posts == [GET, "/v1/datasets.DatasetApiService/DownloadDataset"]
    for method, path, headers in kaggle.asked:
        if path.startswith("/v1/"):
            assert headers["authorization"] == f"Bearer {TOKEN}", method
    assert TOKEN not in result.output and SIGNATURE not in result.output
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes()


def test_a_version_of_a_data_set(kaggle, photos, tmp_path):
    kaggle.files["/storage/maker/ten-cars/2.zip"] = zipped(dict(list(photos.items())[:5]))
    assert carclf("kaggle:maker/ten-cars/versions/2", tmp_path / "cars").exit_code == 0
    assert len(read_table(tmp_path / "cars")) == 5
    assert "another address" in refused("kaggle:maker/ten-cars", tmp_path / "cars")


def test_a_competition_of_kaggle_is_laid_out_for_training_and_for_an_answer(kaggle, tmp_path):
    from carclf.tools.competition.layout import read_competition

    result = carclf("kaggle:car-models", tmp_path / "cars")
    assert result.exit_code == 0, result.output
    assert list(read_table(tmp_path / "cars")["label"]) == ["0", "0", "0"]
    competition = read_competition(tmp_path / "cars")
    assert competition.ids == ("77.jpg",) and competition.photo("77.jpg").is_file()


def test_a_cut_download_from_kaggle_goes_on_and_is_checked(kaggle, photos, tmp_path, pauses):
    kaggle.files["/storage/maker/ten-cars/3.zip"] = zipped(photos | {"notes.txt": bytes(400_000)})
    kaggle.cuts = [0, 140_000, 0, 70_000]  # every other one is of kagglehub, which follows to the storage by itself
    result = carclf("kaggle:maker/ten-cars", tmp_path / "cars")
    assert result.exit_code == 0, result.output
    asked = [one for one in kaggle.ranges_asked() if one is not None]
    assert asked == ["bytes=131072-", "bytes=196608-"]
    assert [path for _, path, _ in kaggle.asked].count(GET) == 1  # each try is of one version
    assert SIGNATURE not in result.output


def test_kaggle_damaged_on_its_way(kaggle, tmp_path):
    kaggle.digest = "Ojk9c3dhfxgoKVVHYwFbHQ=="
    assert "damaged on its way" in refused("kaggle:maker/ten-cars", tmp_path / "cars")


def test_without_a_token(kaggle, tmp_path, monkeypatch):
    """A competition is for members; a data set may be for everybody."""
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    said = refused("kaggle:car-models", tmp_path / "cars")
    assert "/settings/api" in said and "~/.kaggle/access_token" in said and "/competitions/car-models/rules" in said
    assert kaggle.asked == []
    assert carclf("kaggle:maker/ten-cars", tmp_path / "cars").exit_code == 0
    assert not any("authorization" in headers for _, _, headers in kaggle.asked)
    kaggle.failures[GET] = [(403, {}, b"")]
    assert "/settings/api" in refused("kaggle:other/boats", tmp_path / "boats")
    kaggle.failures[GET] = [(401, {}, b"")]
    assert "who is signed in" in refused("kaggle:other/boats", tmp_path / "boats")


def test_credentials_that_cannot_be_read(kaggle, tmp_path, monkeypatch):
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    folder = tmp_path / "home" / ".kaggle"
    folder.mkdir(parents=True)
    (folder / "kaggle.json").write_text('{"username": "me", "key": "5ecret"')
    said = refused("kaggle:car-models", tmp_path / "cars")
    assert "kaggle.json" in said and "5ecret" not in said
    (folder / "kaggle.json").write_text('{"username": "me", "key": "5ecret"}')
    assert carclf("kaggle:car-models", tmp_path / "cars").exit_code == 0


def json_error(status: int, message: str) -> tuple[int, dict[str, str], bytes]:
    return (200, {"Content-Type": "application/json"}, f'{{"code": {status}, "message": "{message}"}}'.encode())


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, "does not know your token"),
        (403, "accept the rules at https://www.kaggle.com/competitions/car-models/rules"),
        (400, "answered with status 400"),
    ],
)
def test_what_kaggle_refuses(kaggle, tmp_path, status, said, wrapped):
    failure = json_error(status, f"no, {TOKEN}") if wrapped else (status, {}, f"no, {TOKEN}".encode())
    kaggle.failures[DOWNLOAD] = [failure]
    assert said in refused("kaggle:car-models", tmp_path / "cars")
    assert not (tmp_path / "cars").exists()


def test_a_data_set_that_wants_consent(kaggle, tmp_path):
    kaggle.failures[GET] = [(403, {}, b"")]
    assert "https://www.kaggle.com/datasets/other/boats" in refused("kaggle:other/boats", tmp_path / "boats")


def test_a_wrong_name_gets_those_near_it(kaggle, tmp_path):
    said = refused("kaggle:car-model", tmp_path / "cars")
    assert re.search("no competition 'car-model': near it are car-models, car-prices, titanic", said)
    said = refused("kaggle:maker/ten-car", tmp_path / "cars")
    assert "no data set 'maker/ten-car': near it are maker/ten-cars, maker/ten-carts" in said


def test_a_wrong_name_that_nothing_is_near(kaggle, tmp_path):
    kaggle.competitions.clear()
    assert "in the address of its page" in refused("kaggle:car-model", tmp_path / "cars")


def test_kaggle_is_asked_again_when_it_has_time(kaggle, tmp_path, pauses):
    kaggle.failures[DOWNLOAD] = [(429, {"Retry-After": "5"}, b""), (503, {}, b"")]
    kaggle.failures["/storage/car-models.zip"] = [(500, {}, SIGNATURE.encode())]
    assert carclf("kaggle:car-models", tmp_path / "cars").exit_code == 0
    assert pauses == [5, 2, 4]
    kaggle.failures[DOWNLOAD] = [(429, {"Retry-After": "3600"}, b"")]
    said = refused("kaggle:car-models", tmp_path / "again")
    assert "takes no more requests for now (status 429)" in said and "in 3600 seconds" in said


def test_no_network_to_kaggle(kaggle, tmp_path, pauses, monkeypatch):
    from kagglesdk import kaggle_env

    with file_server() as gone:
        monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.PROD, gone.url)
    assert "is there a network" in refused("kaggle:car-models", tmp_path / "cars")


def test_the_test_environment_of_kagglehub_prints_no_token(kaggle, tmp_path, monkeypatch):
    from kagglesdk import kaggle_env

    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "TEST")
    monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.TEST, f"{kaggle.url}/none")
    result = carclf("kaggle:car-models", tmp_path / "cars")
    assert result.exit_code == 0 and TOKEN not in result.output and SIGNATURE not in result.output


def test_the_extra_is_named_where_it_lacks(tmp_path, monkeypatch):
    monkeypatch.setattr("detection.common.errors.find_spec", lambda name: None)
    assert 'pip install ".[kaggle]"' in refused("kaggle:maker/ten-cars", tmp_path / "cars")


def test_old_pythons_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr("carclf.tools.fetch.kaggle.sys.version_info", (3, 10, 4))
    assert "Python 3.11 or newer" in refused("kaggle:maker/ten-cars", tmp_path / "cars")


def test_names_are_kept_apart_by_a_digest_alone():
    from carclf.tools.fetch.web import WebFile

    url = "https://cars.example:8443/a/b.zip?sig=5ecret"
    source = WebFile(url)
    assert source.name == "https://cars.example:8443/a/b.zip"
    assert source.key == hashlib.sha256(url.encode()).hexdigest()[:16]


def test_a_python_without_a_way_to_unpack(server, photos, tmp_path, monkeypatch):
    import sys

    server.files["/cars.tar.xz"] = tarred(photos, "w:xz")
    monkeypatch.setitem(sys.modules, "lzma", None)
    assert "packed by lzma" in refused(f"{server.url}/cars.tar.xz", tmp_path / "cars")


@pytest.fixture
def in_memory(photos, monkeypatch):
    """A zip in a place, which reads it in small chunks; the offsets that were read."""
    monkeypatch.setattr(paths, "_open", {})
    monkeypatch.setattr("carclf.tools.fetch.place._CHUNK", 700)
    place = paths.path_of("memory://fetched/cars.zip")
    place.write_bytes(zipped(photos))
    real, offsets = RemoteStore.read, []
    monkeypatch.setattr(
        RemoteStore,
        "read",
        lambda self, key, start=None, end=None: offsets.append(start) or real(self, key, start, end),
    )
    yield place, offsets
    place.unlink(missing_ok=True)


def test_an_archive_in_a_place_is_fetched_and_goes_on_where_it_was(in_memory, tmp_path, monkeypatch):
    place, offsets = in_memory

    class Killed(BaseException):
        pass

    def kill(self, entry, start, real=PlaceFile._chunks):
        yield from islice(real(self, entry, start), 2)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(PlaceFile, "_chunks", kill)
        with pytest.raises(Killed):
            CliRunner().invoke(app, ["data", "fetch", str(place), str(tmp_path / "cars")])
    assert carclf(place, tmp_path / "cars").exit_code == 0
    assert offsets[:4] == [0, 700, 1400, 2100] and len(set(offsets)) == len(offsets)
    assert len(read_table(tmp_path / "cars")) == 6 and names(tmp_path) == ["cars"]


def test_an_archive_that_changes_in_its_place_is_fetched_anew(in_memory, photos, tmp_path, pauses, monkeypatch):
    place, offsets = in_memory
    real = PlaceFile.open

    def change(self, headers):
        answer = real(self, headers)
        if len(offsets) == 0:
            place.write_bytes(zipped(dict(list(photos.items())[:4])))
        return answer

    monkeypatch.setattr(PlaceFile, "open", change)
    assert carclf(place, tmp_path / "cars").exit_code == 0
    assert offsets[:3] == [0, 0, 700] and len(read_table(tmp_path / "cars")) == 4


def test_from_s3_and_what_is_no_archive_there(s3, photos, tmp_path):  # noqa: F811
    s3.put(f"{s3.bucket}/sets/cars.zip", zipped(photos))
    assert carclf(f"s3://{s3.bucket}/sets/cars.zip", tmp_path / "cars").exit_code == 0
    assert len(read_table(tmp_path / "cars")) == 6
    assert "was fetched before" in carclf(f"s3://{s3.bucket}/sets/cars.zip", tmp_path / "cars").stderr
    assert "is a folder: `carclf train CONFIG data=s3://" in refused(f"s3://{s3.bucket}/sets", tmp_path / "other")
    assert "There is nothing at" in refused(f"s3://{s3.bucket}/sets/none.zip", tmp_path / "other")
    secret = os.environ["AWS_SECRET_ACCESS_KEY"]
    assert not any(secret in file.read_text("latin-1") for file in tmp_path.rglob("*") if file.is_file())

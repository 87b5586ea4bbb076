"""`carclf data fetch kaggle:...`, from a stand-in that speaks its routes."""

from __future__ import annotations

import re

import pytest

from carclf.datasets import read_table
from tests.carclf.tools.fetch.fetched import carclf, refused, zipped
from tests.carclf.tools.file_server import SIGNATURE, TOKEN, file_server
from tests.detection.common.places.conftest import own_world, s3, s3_server  # noqa: F401


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

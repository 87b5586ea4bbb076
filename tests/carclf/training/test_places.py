"""A training on photos that lie in a place elsewhere: as on those of a folder here, to the last bit."""

import io
import json
import os
import tarfile
from pathlib import Path

import pandas as pd
import pytest
import torch

from carclf.runs.folder import resumed_config
from carclf.runs.recipe import TrainConfig
from carclf.training.data.split import SPLIT
from carclf.training.loop import train
from carclf.training.record.log import EpochLog
from carclf.training.start import parent_of
from detection import UsageError
from detection.common.config import read_config
from detection.common.places import paths
from detection.common.places.paths import path_of
from detection.common.places.store import Store
from tests.carclf.drawn import draw_folders
from tests.carclf.short_runs import results, short_config, short_stage, weights
from tests.carclf.training.test_moved import at_epoch, stop
from tests.detection.common.places.conftest import own_world, proxy, s3, s3_server  # noqa: F401

pytestmark = pytest.mark.usefixtures("no_pictures")

STAGES = [short_stage("head", augmentation=0.5), short_stage("all", 2)]
SETTINGS = {"stages": STAGES, "validation": 0.25}


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("first")
    draw_folders(root / "photos", each=8)
    return root / "photos"


@pytest.fixture(scope="module")
def local(photos) -> Path:
    """The run on the photos in their folder."""
    return train(short_config(photos.parent, output=photos.parent / "local", **SETTINGS))


def files_of(photos: Path) -> dict[str, bytes]:
    return {file.relative_to(photos).as_posix(): file.read_bytes() for file in sorted(photos.rglob("*.jpg"))}


def upload(photos: Path, address: str) -> str:
    for name, data in files_of(photos).items():
        path_of(f"{address}/{name}").write_bytes(data)
    paths._open.clear()  # as if another process had written them
    return address


def same(run: Path, other: Path) -> None:
    assert results(run) == results(other)
    ours, theirs = weights(run), weights(other)
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def kept(tmp_path: Path) -> list[Path]:
    return [file for file in (tmp_path / "cache/photos").glob("*/*") if not file.name.startswith(".")]


def test_from_s3_each_photo_is_fetched_once_and_no_secret_is_noted(local, photos, s3, proxy, tmp_path, monkeypatch):  # noqa: F811
    """Stopped in the middle and resumed; by two reader processes, and with what the copies need to the byte."""
    for name, data in files_of(photos).items():
        s3.put(f"{s3.bucket}/set/{name}", data)
    needed = sum(len(data) + 16 for data in files_of(photos).values())
    config = short_config(tmp_path, data=f"s3://{s3.bucket}/set", workers=2, cache_size=needed, **SETTINGS)
    with monkeypatch.context() as patch:
        patch.setattr(EpochLog, "on_train_epoch_start", at_epoch("all", 1, stop))
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            train(config)
    train(resumed_config(config.output))
    same(config.output, local)
    fetched = [path for how, path in proxy.requests if how == "GET" and path.endswith(".jpg")]
    assert len(fetched) == len(set(fetched)) == len(files_of(photos))
    assert len(kept(tmp_path)) == len(fetched) and Store.keeper is None
    assert pd.read_csv(config.output / SPLIT)["file"].str.startswith(f"s3://{s3.bucket}/set/").all()
    assert read_config(TrainConfig, config.output / "config.yaml").data == config.data
    for file in (file for file in config.output.rglob("*") if file.is_file()):
        assert os.environ["AWS_SECRET_ACCESS_KEY"].encode() not in file.read_bytes()


def test_a_cache_that_holds_a_part_changes_nothing_but_the_time(local, photos, tmp_path):
    address = upload(photos, "memory://small/set")
    most = sum(sorted(len(data) + 16 for data in files_of(photos).values())[-8:])
    train(config := short_config(tmp_path, data=address, cache_size=most, **SETTINGS))
    same(config.output, local)
    assert 0 < sum(file.stat().st_size for file in kept(tmp_path)) <= most
    with pytest.raises(
        UsageError, match=rf"cache_size={most - 1} is smaller than a batch of 8 .*set cache_size={most}"
    ):
        train(short_config(tmp_path, output=tmp_path / "other", data=address, cache_size=most - 1, **SETTINGS))


def test_from_shards(local, photos, tmp_path):
    """In WebDataset's layout. All shards' photos are shuffled as one: the order is that of the folder."""
    names = sorted(files_of(photos))
    for number in range(2):
        target = io.BytesIO()
        with tarfile.open(fileobj=target, mode="w") as archive:
            for name in names[number::2]:
                label = json.dumps({"label": name.split("/")[0]}).encode()
                for member, data in ((name, (photos / name).read_bytes()), (name[:-4] + ".json", label)):
                    about = tarfile.TarInfo(member)
                    about.size = len(data)
                    archive.addfile(about, io.BytesIO(data))
        path_of(f"memory://shards/{number:03d}.tar").write_bytes(target.getvalue())
    train(config := short_config(tmp_path, data="memory://shards/{000..001}.tar", workers=1, **SETTINGS))
    split = pd.read_csv(config.output / SPLIT)
    assert len(split) == len(names) and split["file"].str.contains(r"memory://shards/00[01]\.tar/").all()
    assert (config.output / "metrics.json").is_file()


def test_photos_are_cut_out_of_a_place(photos, tmp_path, monkeypatch):
    """By stage 1, into a folder here; the same cut-outs as of a folder."""
    import detection.detectors.load
    from tests.fakes import FakeDetector

    monkeypatch.setattr(detection.detectors.load, "load_detector", lambda *_, **__: FakeDetector())
    runs = []
    for name, data in (("here", photos), ("there", upload(photos, "memory://raw/set"))):
        settings = SETTINGS | {
            "crops": False,
            "cutout": {"background": "white", "no_car": "keep"},
            "stages": STAGES[:1],
        }
        runs.append(train(short_config(tmp_path, output=tmp_path / name, data=data, **settings)))
    same(*runs)
    ours, theirs = (pd.read_csv(run / SPLIT)[["sha256", "source_sha256"]] for run in runs)
    assert ours.equals(theirs) and ours.notna().all(axis=None)


@pytest.mark.parametrize("gone", [True, False])
def test_a_photo_that_goes_or_changes_in_the_middle_is_a_sentence(gone, local, photos, tmp_path, monkeypatch):
    """Though its size stays; put back, the run ends as it would have."""
    address = upload(photos, "memory://gone/set")
    broken = path_of(f"{address}/{next(iter(files_of(photos)))}")
    whole = broken.read_bytes()

    def harm():
        broken.unlink() if gone else broken.write_bytes(bytes(len(whole)))
        for copy in kept(tmp_path):  # as where the cache holds a part alone
            copy.unlink()

    most = sum(len(data) + 16 for data in files_of(photos).values())
    config = short_config(tmp_path, data=address, cache_size=most, **SETTINGS)
    with monkeypatch.context() as patch:
        patch.setattr(EpochLog, "on_train_epoch_start", at_epoch("all", 0, harm))
        with pytest.raises(UsageError) as error:
            train(config)
    said = str(error.value)
    assert str(broken) in said and f"carclf train --resume {config.output}" in said and "\n" not in said
    assert ("it is not there" if gone else "has changed") in said
    broken.write_bytes(whole)
    same(train(resumed_config(config.output)), local)


def test_a_signed_address_is_noted_without_its_signature(tmp_path):
    secret = "https://me:pass@cars.example/photos.zip?X-Amz-Signature=0a1b2c&version=3"
    config = short_config(tmp_path, data=secret, images=secret, init=secret, teachers=(secret,))
    assert "0a1b2c" not in parent_of(secret) and parent_of(secret).startswith("https://cars.example/photos.zip")
    assert config.model_dump(mode="json")["data"] == "https://cars.example/photos.zip?X-Amz-Signature=***&version=3"
    assert "pass" not in config.model_dump_json() and "0a1b2c" not in config.model_dump_json()


def test_a_run_folder_elsewhere_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"folder of this machine.*s3://host") as error:
        read_config(TrainConfig, None, ["data=x", "output=s3://me:secret@host/run"])
    assert "secret" not in str(error.value)


@pytest.mark.slow
def test_two_processes_on_photos_of_s3(photos, s3, proxy, tmp_path):  # noqa: F811
    """Each photo is fetched once by both and by their readers, which are processes that were not forked off."""
    for name, data in files_of(photos).items():
        s3.put(f"{s3.bucket}/set/{name}", data)
    settings = SETTINGS | {"stages": STAGES[1:], "devices": 2}
    there = train(
        short_config(tmp_path, output=tmp_path / "there", data=f"s3://{s3.bucket}/set", workers=1, **settings)
    )
    fetched = [path for how, path in proxy.requests if how == "GET" and path.endswith(".jpg")]
    assert len(fetched) == len(set(fetched)) == len(files_of(photos))
    same(there, train(short_config(tmp_path, output=tmp_path / "here", data=photos, **settings)))

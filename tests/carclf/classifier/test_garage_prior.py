"""The prior of a base: what it does for new classes, its file, and what is said of strange ones."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from carclf.classifier.catalogue import FoundModel, find_model, load_classifier
from carclf.classifier.contract import unit
from carclf.classifier.garage.discriminant import fit
from carclf.classifier.garage.file import read_garage, write_garage
from carclf.classifier.garage.prior import FORMAT, KEY, Prior, PriorInfo, prior_file, read_prior, write_prior
from carclf.classifier.info import fingerprint
from carclf.tools.garage.learn import _Photos
from carclf.weights import BUNDLED, bundled_file
from detection.common.errors import UsageError
from detection.common.networks.arrays import read_metadata
from tests.carclf.classifier.test_garage import make_garage
from tests.carclf.tiny import CLASSES, save_tiny_model

FEATURES, SURE = 60, 0.2


def cars(centres, each, sides, random):
    """views float32 [P, 2, F], numbers [P]: photos of cars that differ far more by side than by class."""
    numbers = np.repeat(np.arange(len(centres)), each)
    seen = random.normal(size=(len(numbers), 1, len(sides))) @ sides
    return unit(centres[numbers][:, None] + seen + random.normal(0, 0.01, (len(numbers), 2, FEATURES))), numbers


def world(seed):
    """Centres of 6 new and 3 known classes, the directions of 10 sides, and the prior that knows both."""
    random = np.random.default_rng(seed)
    centres = np.eye(1, FEATURES) + 0.1 * random.normal(size=(9, FEATURES)) / np.sqrt(FEATURES) * 5
    sides = 0.3 * unit(random.normal(size=(10, FEATURES)))
    prior = Prior((sides / np.linalg.norm(centres, axis=1).mean()).astype(np.float32), unit(centres[6:]))
    return centres, sides, prior, random


def test_a_prior_tells_what_few_photos_cannot():
    right = {True: [], False: []}
    for seed in range(5):
        centres, sides, prior, random = world(seed)
        views, numbers = cars(centres[:6], 2, sides, random)
        asked, truth = cars(centres[:6], 10, sides, random)
        for known in (True, False):
            found = fit(views, numbers, np.full(12, SURE), prior if known else None)
            right[known].append((found.which(asked[:, 0]).argmax(axis=1) == truth).mean())
    assert np.mean(right[True]) > 0.95 and np.mean(right[False]) < 0.85


def test_a_known_car_that_is_nearer_to_its_own_class_stays_known():
    """Whatever side it is seen from, and though the base is not sure of it."""
    centres, sides, prior, random = world(0)
    views, numbers = cars(centres[:6], 3, sides, random)
    found = fit(views, numbers, np.full(18, SURE), prior)
    unsure = np.full((30, 3), 1 / 3)
    for own, new in ((centres[6:], False), (centres[:6], True)):
        asked = cars(own, 30 // len(own), sides, random)[0][:, 0]
        assert ((found.join(unsure, asked).argmax(axis=1) >= 3) == new).mean() > 0.9


def test_the_steady_part_has_lost_the_spread_and_nothing_else():
    sides = np.eye(2, 6, dtype=np.float32) * np.array([[2.0], [1.0]], np.float32)
    prior = Prior(sides, np.eye(1, 6, 5, dtype=np.float32))
    one, other = prior.steady(unit(np.array([[5.0, 3, 1, 1, 0, 0], [-5, 1, 1, 1, 0, 0]])))
    np.testing.assert_allclose(one @ other, 1, atol=0.02)
    np.testing.assert_allclose(prior.steady(np.eye(6, dtype=np.float32)[2:3])[0], np.eye(6)[2], atol=1e-6)
    assert prior.steady(np.empty((0, 6), np.float32)).shape == (0, 6)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("model") / "tiny.safetensors")


@pytest.fixture
def file(base, tmp_path):
    """A prior of the tiny model, beside a copy of it."""
    own = tmp_path / base.name
    shutil.copy(base, own)
    random = np.random.default_rng(0)
    features = load_classifier(str(own), "cpu").predict_and_embed([])[1].shape[1]
    prior = Prior(
        random.normal(0, 0.01, (4, features)).astype(np.float32), unit(random.normal(size=(len(CLASSES), features)))
    )
    write_prior(prior_file(own), prior, PriorInfo(base=fingerprint(own)))
    return own, prior


def test_what_is_written_is_read_up_to_its_bits(file):
    own, prior = file
    again = read_prior(prior_file(own), fingerprint(own), len(CLASSES))
    np.testing.assert_allclose(again.spread, prior.spread, atol=np.abs(prior.spread).max() / 200)
    assert (np.sum(again.means * prior.means, axis=1) > 0.98).all()
    np.testing.assert_allclose(np.linalg.norm(again.means, axis=1), 1, atol=1e-5)
    twice = FoundModel(own, "weights").prior(load_classifier(str(own), "cpu"))
    assert twice is not None and twice.fingerprint == again.fingerprint


def grown(path, own, prior):
    """The garage `path`, learnt again as `carclf learn` does it."""
    old = read_garage(path)
    write_garage(path, _Photos.of(old).garage(own.name, old.info.fingerprint, prior))
    return path


def test_a_garage_needs_the_prior_that_it_was_learnt_with(file):
    own, _ = file
    path, crops = make_garage(own, own.parent / "garage")
    plain = load_classifier(str(path), "cpu")
    assert plain.garage.discriminant.prior is None, "an older garage answers as before, though there is a prior now"
    prior = find_model(str(own)).prior(load_classifier(str(own), "cpu"))
    learnt = load_classifier(str(grown(path, own, prior)), "cpu")
    assert learnt.garage.discriminant.prior is not None and learnt.fingerprint != plain.fingerprint
    np.testing.assert_allclose(learnt.predict(crops).sum(axis=1), 1, atol=1e-5)
    write_prior(prior_file(own), Prior(prior.spread * 2, prior.means), PriorInfo(base=fingerprint(own)))
    with pytest.raises(UsageError, match="learnt with another prior than the one that is here: learn it again"):
        load_classifier(str(path), "cpu")
    prior_file(own).unlink()
    with pytest.raises(UsageError, match="learnt with another prior than the one that is here: learn it again"):
        load_classifier(str(path), "cpu")


def test_a_garage_of_the_first_format_still_loads(file):
    own, _ = file
    path, crops = make_garage(own, own.parent / "garage")
    answers = load_classifier(str(path), "cpu").predict(crops)
    info = json.loads(read_metadata(path)["carclf-garage"])
    del info["prior"]
    info["format"] = "carclf-garage-1"
    save_file(load_file(path), path, metadata={"carclf-garage": json.dumps(info)})
    np.testing.assert_array_equal(load_classifier(str(path), "cpu").predict(crops), answers)


def _read(own):
    return read_prior(prior_file(own), fingerprint(own), len(CLASSES))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"base": "0" * 16}, "belongs to another classifier than the one beside it"),
        ({"base": ""}, "its description can't be read"),
        ({"more": 1}, "its description can't be read"),
        ({"format": "carclf-prior-9"}, "newer"),
        ({"format": "something"}, f"has the format 'something', this carclf reads '{FORMAT}'"),
    ],
)
def test_strange_descriptions_get_one_sentence(file, values, said):
    own, _ = file
    path = prior_file(own)
    info = json.loads(read_metadata(path)[KEY]) | values
    save_file(load_file(path), path, metadata={KEY: json.dumps(info)})
    with pytest.raises(UsageError, match=said) as told:
        _read(own)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("text", ["[" * 100_000, "[]", "nonsense", "null"])
def test_hostile_descriptions_get_one_sentence(file, text):
    own, _ = file
    save_file(load_file(prior_file(own)), prior_file(own), metadata={KEY: text})
    with pytest.raises(UsageError, match="its description can't be read"):
        _read(own)


def test_another_file_is_no_prior(file):
    own, _ = file
    shutil.copy(own, prior_file(own))
    with pytest.raises(UsageError, match="is not what its name says"):
        _read(own)


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"spread": np.zeros((4, 6), np.int8)}, "its tensors do not fit each other"),
        ({"spread.scales": np.full(4, np.nan, np.float32)}, "its values are no finite numbers"),
        ({"lengths": np.full(len(CLASSES), np.inf, np.float32)}, "its values are no finite numbers"),
        ({"lengths": np.zeros(len(CLASSES), np.float32)}, "its values are no finite numbers"),
        ({"lengths": np.ones(len(CLASSES) + 1, np.float32)}, "classes, its base"),
        ({"lengths": np.ones(len(CLASSES), np.int32)}, "its tensors are of wrong types"),
        ({"means": np.zeros((1, 512), np.uint8)}, "it has 1 classes, its base"),
        ({"means": np.zeros(5, np.uint8)}, "its tensors do not fit each other"),
        ({"more": np.zeros(1, np.uint8)}, "its tensors are not those that it should have"),
    ],
)
def test_strange_tensors_get_one_sentence(file, tensors, said):
    own, _ = file
    path = prior_file(own)
    if "means" in tensors and tensors["means"].ndim == 2:
        tensors = {"means": np.zeros((1, load_file(path)["means"].shape[1]), np.uint8)}
    save_file(load_file(path) | tensors, path, metadata=read_metadata(path))
    with pytest.raises(UsageError, match=said) as told:
        _read(own)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("end", [0, 7, 8, 100, -1])
def test_a_file_that_is_cut_off_gets_one_sentence(file, end):
    own, _ = file
    whole = prior_file(own).read_bytes()
    prior_file(own).write_bytes(whole[:end])
    with pytest.raises(UsageError, match="is not a whole safetensors file"):
        _read(own)


@pytest.mark.parametrize("name", [name for name in BUNDLED if prior_file(bundled_file(name)).is_file()])
def test_bundled_priors_belong_to_their_bases(name):
    file = bundled_file(name)
    classes = len(find_model(name).info().classes)
    prior = read_prior(prior_file(file), fingerprint(file), classes)
    assert prior.means.shape == (classes, prior.spread.shape[1]) and prior_file(file).stat().st_size < 500_000

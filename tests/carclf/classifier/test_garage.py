"""A garage: how new classes join known ones, its file, and what is said of strange ones."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from carclf.classifier.catalogue import find_model, load_classifier
from carclf.classifier.contract import unit
from carclf.classifier.garage.classifier import GarageClassifier
from carclf.classifier.garage.discriminant import fit
from carclf.classifier.garage.file import (
    FORMAT,
    KEY,
    Garage,
    GarageInfo,
    LearntPhoto,
    is_garage,
    read_garage,
    write_garage,
)
from detection.common.errors import UsageError
from tests.carclf.tiny import CLASSES, save_tiny_model

FEATURES, SURE = 40, 0.2


def photos_of(centres, each, seed=0, noise=0.02):
    """views float32 [P, 2, F], numbers [P], sure [P] of as many photos round each centre."""
    random = np.random.default_rng(seed)
    numbers = np.repeat(np.arange(len(centres)), each)
    views = centres[numbers][:, None] + random.normal(0, noise, (len(numbers), 2, centres.shape[1]))
    return unit(views), numbers, np.full(len(numbers), SURE, np.float32)


def centres_of(count, seed=1):
    return unit(np.random.default_rng(seed).normal(size=(count, FEATURES)))


@pytest.mark.parametrize("each", [1, 2, 5])
def test_new_cars_are_named_and_known_ones_stay(each):
    centres = centres_of(8)
    discriminant = fit(*photos_of(centres[:5], each))
    asked, truth, _ = photos_of(centres[:5], 4, seed=7)
    unsure = np.full((len(asked), 3), 1 / 3)
    answers = discriminant.join(unsure, asked[:, 0])
    assert (answers.argmax(axis=1) == truth + 3).all(), "each is named by its class"
    others = photos_of(centres[5:], 4, seed=7)[0][:, 0]
    known = np.tile([0.9, 0.05, 0.05], (len(others), 1))
    np.testing.assert_allclose(discriminant.join(known, others)[:, :3], known, atol=1e-3)


def test_what_changes_between_photos_of_one_class_counts_for_little():
    """Two classes that differ in one direction, and photos that differ far more in another one."""
    random = np.random.default_rng(0)

    def photos(count):
        numbers = np.arange(count) % 2
        rows = np.zeros((count, FEATURES))
        rows[:, 0], rows[:, 1], rows[:, 2] = 1, np.where(numbers, 0.15, -0.15), random.normal(0, 1, count)
        return unit(rows[:, None] + random.normal(0, 0.01, (count, 2, FEATURES))), numbers

    views, numbers = photos(12)
    asked, truth = photos(40)
    found = fit(views, numbers, np.full(12, SURE)).which(asked[:, 0]).argmax(axis=1)
    means = unit(np.stack([views[numbers == number].mean(axis=(0, 1)) for number in (0, 1)]))
    by_means = (asked[:, 0] @ means.T).argmax(axis=1)
    assert (found == truth).mean() > 0.95 > (by_means == truth).mean()


@settings(deadline=None, max_examples=40)
@given(
    count=st.integers(1, 6),
    each=st.integers(1, 4),
    noise=st.sampled_from([0.0, 1e-3, 0.5]),
    seed=st.integers(0, 99),
    sharp=st.floats(0.1, 20),
)
def test_answers_are_probabilities_and_keep_the_order_of_the_known(count, each, noise, seed, sharp):
    discriminant = fit(*photos_of(centres_of(count, seed), each, seed, noise))
    random = np.random.default_rng(seed)
    known = np.exp(sharp * random.normal(size=(5, 4)))
    known /= known.sum(axis=1, keepdims=True)
    joined = discriminant.join(known, unit(random.normal(size=(5, FEATURES))))
    assert joined.shape == (5, 4 + count) and joined.dtype == np.float32
    assert (joined >= 0).all() and np.isfinite(joined).all()
    np.testing.assert_allclose(joined.sum(axis=1), 1, atol=1e-5)
    kept = joined[:, :4].sum(axis=1) > 1e-3
    np.testing.assert_allclose(
        (joined[:, :4] / joined[:, :4].sum(axis=1, keepdims=True))[kept], known[kept], rtol=1e-3, atol=1e-4
    )


def test_many_photos_are_solved_the_other_way_with_the_same_result(monkeypatch):
    """With more rows than features the plain inverse is taken, with fewer Woodbury's."""
    centres = unit(np.random.default_rng(1).normal(size=(3, 12)))
    views, numbers, sure = photos_of(centres, 3, noise=0.1)
    plain = fit(views, numbers, sure)
    padded = np.concatenate([views, np.zeros((*views.shape[:2], 20), np.float32)], axis=2)
    other = fit(padded, numbers, sure)
    assert len(views) * 2 > 12 and len(views) * 2 < 32
    np.testing.assert_allclose(other.directions[:, :12], plain.directions, rtol=1e-3, atol=1e-3)
    assert not np.abs(other.directions[:, 12:]).max() > 1e-6


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("model") / "tiny.safetensors")


def make_garage(base, path, names=("Rover 75", "Saab 9-5"), each=2):
    """A garage of coloured squares."""
    classifier = load_classifier(str(base), "cpu")
    random = np.random.default_rng(0)
    crops = [random.integers(0, 255, (50, 80, 3), dtype=np.uint8) for _ in range(len(names) * each)]
    known, vectors = classifier.predict_and_embed(crops)
    views = np.stack([vectors, vectors], axis=1)
    numbers = np.repeat(np.arange(len(names)), each)
    found = fit(views, numbers, known.max(axis=1))
    info = GarageInfo(
        base=base.name,
        fingerprint=classifier.fingerprint,
        classes=names,
        photos=tuple(LearntPhoto(file=f"{n}.jpg", number=int(n), hash=2**64 - 1) for n in numbers),
        temperature=found.temperature,
        border=found.border,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_garage(path, Garage(info, views, known.max(axis=1), found))
    return path, crops


@pytest.fixture(scope="module")
def garage(base):
    return make_garage(base, base.parent / "garage")


def test_it_stands_wherever_a_model_does(base, garage):
    path, crops = garage
    classifier = load_classifier(str(path), "cpu")
    assert isinstance(classifier, GarageClassifier) and classifier.classes == (*CLASSES, "Rover 75", "Saab 9-5")
    assert find_model(str(path)).info().classes == classifier.classes
    own = load_classifier(str(base), "cpu")
    assert classifier.fingerprint != own.fingerprint and classifier.style == own.style
    answers = classifier.predict(crops)
    assert answers.shape == (4, 5) and classifier.predict([]).shape == (0, 5)
    np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(classifier.predict_and_embed(crops)[1], own.predict_and_embed(crops)[1])
    with pytest.raises(UsageError, match=r"is a garage, which only predicts: .*'tiny.safetensors'"):
        find_model(str(path)).weights  # noqa: B018


def test_what_is_written_is_read(garage):
    path, _ = garage
    assert is_garage(path)
    again = read_garage(path)
    write_garage(path.with_name("again"), again)
    twice = read_garage(path.with_name("again"))
    assert again.info == twice.info and again.info.photos[0].hash == 2**64 - 1
    np.testing.assert_allclose(again.vectors, twice.vectors, atol=1e-6)
    np.testing.assert_array_equal(again.discriminant.directions, twice.discriminant.directions)
    np.testing.assert_allclose(np.linalg.norm(again.vectors, axis=2), 1, atol=0.01)


def _changed(path, target, tensors=None, **values):
    """The garage with other values in its description, or other tensors."""
    from carclf.classifier.garage.file import read_metadata

    info = json.loads(read_metadata(path)[KEY]) | values
    save_file(load_file(path) | (tensors or {}), target, metadata={KEY: json.dumps(info)})
    return str(target)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"fingerprint": "0" * 16}, "was learnt with another 'tiny.safetensors' than the one that is here"),
        ({"base": "gone.safetensors"}, "gone.safetensors', which is not there: put it back"),
        ({"base": "garage"}, "stands on another garage"),
        ({"classes": ["Rover 75", CLASSES[0]]}, f"has the class '{CLASSES[0]}', which 'tiny.safetensors' has itself"),
        ({"classes": ["Rover 75", "Rover 75"]}, "its photos are not those of its classes"),
        ({"classes": ["Rover 75"]}, "its photos are not those of its classes"),
        ({"classes": []}, "its description can't be read"),
        ({"temperature": 0}, "its description can't be read"),
        ({"border": float("nan")}, "its description can't be read"),
        ({"more": 1}, "its description can't be read"),
        ({"format": "carclf-garage-9"}, "carclf-garage-9|newer"),
        ({"format": "something"}, f"has the format 'something', this carclf reads '{FORMAT}'"),
    ],
)
def test_strange_descriptions_get_one_sentence(garage, tmp_path_factory, values, said):
    path = _changed(garage[0], garage[0].with_name("strange"), **values)
    with pytest.raises(UsageError, match=said) as told:
        load_classifier(path, "cpu")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "tensors",
    [
        {"means": np.zeros((2, 7), np.float16)},
        {"directions": np.full((2, 1024), np.nan, np.float32)},
        {"offsets": np.zeros(3, np.float32)},
        {"extra": np.zeros(1, np.float32)},
        {"sure": np.zeros(4, np.int64)},
        {"means": np.zeros((2, 0), np.float16), "directions": np.zeros((2, 0), np.float32)},
    ],
)
def test_strange_tensors_get_one_sentence(garage, tensors):
    path = _changed(garage[0], garage[0].with_name("strange"), tensors)
    with pytest.raises(UsageError, match="is damaged: its tensors are not those that it describes"):
        load_classifier(path, "cpu")


def test_vectors_of_another_length_than_the_bases_get_one_sentence(garage):
    short = {
        "vectors": np.zeros((8, 9), np.int8),
        "directions": np.zeros((2, 9), np.float32),
        "means": np.zeros((2, 9), np.float16),
    }
    path = _changed(garage[0], garage[0].with_name("strange"), short)
    with pytest.raises(UsageError, match="its vectors have 9 values, those of its base"):
        load_classifier(path, "cpu")


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_damaged_bytes_are_a_usage_error_or_harmless(garage, data):
    whole = bytearray(Path(garage[0]).read_bytes())
    size = struct.unpack("<Q", whole[:8])[0]
    end = data.draw(st.sampled_from([len(whole), len(whole) - 1, size + 8, 8, 7, 0]))
    damaged = whole[:end]
    if damaged:
        place = data.draw(st.integers(0, min(len(damaged), size + 8) - 1))
        damaged[place] = data.draw(st.integers(0, 255))
    path = garage[0].with_name("damaged")
    path.write_bytes(damaged)
    try:
        load_classifier(str(path), "cpu")
    except UsageError as error:
        assert "\n" not in str(error)

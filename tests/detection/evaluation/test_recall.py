"""Which of the vehicles that are there are found, by kind and size."""

import numpy as np
import pytest

from detection.evaluation.recall import Recall
from detection.vehicle import Vehicle


def found(*boxes):
    return [Vehicle(box, np.ones((100, 200), bool), 0.9, "car") for box in boxes]


def test_vehicles_are_counted_by_kind_and_size():
    recall = Recall()
    truck, car, far = (0, 0, 100, 50), (100, 0, 150, 20), (10, 80, 30, 90)
    recall.add([truck, car, far], ["truck", "car", "car"], found((0, 0, 90, 50), (140, 0, 190, 20)), (100, 200))
    recall.add([car], ["car"], found((100, 0, 150, 20)), (100, 200))
    assert recall.figures() == {
        "found_truck_large": 1, "n_truck_large": 1, "found_side_40up": 1, "n_side_40up": 1,
        "found_car_middle": pytest.approx(0.5), "n_car_middle": 2,
        "found_side_20to40": pytest.approx(0.5), "n_side_20to40": 2,
        "found_car_small": 0, "n_car_small": 1, "found_side_10to20": 0, "n_side_10to20": 1,
    }  # fmt: skip


def test_without_vehicles_there_are_no_figures():
    recall = Recall()
    recall.add([], [], found((0, 0, 9, 9)), (100, 200))
    assert recall.figures() == {}

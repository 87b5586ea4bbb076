"""Scores that the check corrects: what is asked, what they become, and what stays."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from detection.common.errors import UsageError
from detection.common.networks.weights import write_safetensors
from detection.detectors.check.evidence import Evidence, log_classes, read_evidence
from detection.detectors.check.rescored import RescoredDetector, rescored
from detection.detectors.compact.files import bundled_evidence
from detection.detectors.contract import Detector, SureOnes
from detection.detectors.finder import VehicleFinder
from detection.vehicle import Look, Vehicle

SIZE = (100, 200)
EVIDENCE = Evidence(
    np.zeros(1000, np.float32), constant=0, share=1, offset=-0.84, certain=0.98, least=0.3, name="abc123"
)


def vehicle(score: float, box=(0, 0, 40, 40), kind="car") -> Vehicle:
    mask = np.zeros(SIZE, bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return Vehicle(box, mask, score, kind)


class Found(Detector):
    name, fingerprint = "found", "found-0.84"

    def __init__(self, *vehicles: Vehicle, threshold: float = 0.84):
        self.vehicles, self.threshold, self.outlined = vehicles, threshold, []

    @property
    def score_threshold(self) -> float:
        return self.threshold

    @property
    def own_threshold(self) -> float:
        return 0.84

    def with_threshold(self, score_threshold: float):
        other = Found(*self.vehicles, threshold=score_threshold)
        other.outlined, other.fingerprint = self.outlined, f"found-{score_threshold:g}"
        return other

    def detect(self, images):
        return [[one for one in self.vehicles if one.score >= self.threshold] for _ in images]

    def detect_sure(self, images, sure):
        found = self.detect(images)[0]
        first, rest = [one for one in found if one.score >= sure], [one for one in found if one.score < sure]

        def outlined():
            self.outlined.append(len(rest))
            return rest

        return [SureOnes(first, outlined, [one.box for one in rest]) if first else found for _ in images]


class Check:
    """Says of each view, in turn, how much speaks for a vehicle."""

    def __init__(self, *evidence: float):
        self.evidence, self.asked, self.car = list(evidence), 0, 0.4

    def look(self, views):
        self.asked += len(views)
        return [Look(self.car, "toaster", self.evidence.pop(0)) for _ in views]


def detector(check: Check, *vehicles: Vehicle) -> RescoredDetector:
    return RescoredDetector(Found(*vehicles), lambda: check, EVIDENCE)


PHOTO = [np.zeros((*SIZE, 3), np.uint8)]


@pytest.mark.parametrize(
    ("score", "evidence", "counts"),
    [
        (0.99, None, True),  # certain: the check is not asked
        (0.97, -1.5, False),  # a bullet train
        (0.9, 3.0, True),
        (0.5, 2.6, True),  # a car in fog
        (0.5, 2.4, False),
        (0.29, None, False),  # too little to be looked at
    ],
)
def test_the_check_decides_what_the_detector_is_not_certain_of(score, evidence, counts):
    check = Check(*([] if evidence is None else [evidence]))
    (found,) = detector(check, vehicle(score)).detect(PHOTO)
    assert (len(found) == 1) == counts and not check.evidence
    if counts and evidence is not None:
        odds = np.log(score / (1 - score)) + evidence - 0.84
        assert found[0].score == pytest.approx(min(max(score, 0.9), 1 / (1 + np.exp(-odds))))
        assert found[0].look == Look(0.4, "toaster", evidence)


def test_what_looks_like_a_car_keeps_its_score():
    check = Check(-1.5)
    check.car = 0.6
    (found,) = detector(check, vehicle(0.94)).detect(PHOTO)
    assert [one.score for one in found] == [0.94]


def test_the_best_by_the_new_scores_comes_first():
    (found,) = detector(Check(0.9, 3.9), vehicle(0.86), vehicle(0.6, (100, 0, 140, 40))).detect(PHOTO)
    assert [one.box[0] for one in found] == [100, 0] and found[0].score == 0.9 and found[0].score > found[1].score


def test_a_box_round_a_vehicle_that_is_found_already_does_not_count():
    around, beside = vehicle(0.6, (0, 0, 90, 40)), vehicle(0.5, (120, 0, 160, 40))
    (found,) = detector(Check(5, 5), vehicle(0.99, (0, 0, 80, 40)), around, beside).detect(PHOTO)
    assert [one.box for one in found] == [(0, 0, 80, 40), (120, 0, 160, 40)]


def test_a_low_threshold_shows_the_low_scores_as_they_are():
    low = detector(Check(-9), vehicle(0.7), vehicle(0.1)).with_threshold(0.05)
    assert [one.score for one in low.detect(PHOTO)[0]] == [0.1]
    assert low.score_threshold == 0.05 and low.own_threshold == 0.84


@pytest.mark.parametrize(("box", "outlined"), [((100, 0, 110, 10), []), ((100, 0, 190, 90), [1])])
def test_the_unsure_are_outlined_only_where_they_may_be_the_main_vehicle(box, outlined):
    ours = detector(Check(5, 5), vehicle(0.99), vehicle(0.6, box))
    (found,) = ours.detect_sure(PHOTO, 0.84)
    assert ours._found.outlined == outlined and len(found) == 1 + len(outlined)
    if not outlined:
        assert isinstance(found, SureOnes) and [one.box for one in found.rest()] == [box]


def test_what_was_looked_at_is_not_looked_at_again_with_the_rest():
    check = Check(3, 5)
    (found,) = detector(check, vehicle(0.9), vehicle(0.6, (100, 0, 190, 90))).detect_sure(PHOTO, 0.84)
    assert len(found) == 2 and check.asked == 2


def test_the_finder_finds_the_same_main_vehicle_with_and_without_the_rest():
    rng = np.random.default_rng(0)
    for _ in range(50):
        vehicles = []
        for _ in range(3):
            x, y, side = rng.integers(0, 120), rng.integers(0, 50), rng.integers(10, 50)
            vehicles.append(vehicle(float(rng.uniform(0.3, 1)), tuple(map(int, (x, y, x + side, y + side)))))
        vehicles.sort(key=lambda one: -one.score)
        evidence = {one.box: float(rng.normal(2, 2)) for one in vehicles}

        class Known:
            def look(self, views, evidence=evidence):
                return [Look(0.4, "toaster", evidence[tuple(view)]) for view in views]

        mains = []
        for whole in (True, False):
            ours = RescoredDetector(Found(*vehicles), Known, EVIDENCE)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("detection.detectors.check.rescored.car_view", lambda image, box: box)
                finder = VehicleFinder(ours, turned=False)
                (finding,) = finder.decide([lambda: PHOTO[0]], finder.find(PHOTO, whole))
            mains.append(None if finding.choice.main is None else finding.choice.main.box)
        assert mains[0] == mains[1]


def test_the_finder_asks_nothing_again_and_says_what_it_was():
    check = Check(-1.5)
    finder = VehicleFinder(detector(check, vehicle(0.97)), turned=False)
    (finding,) = finder.decide([lambda: PHOTO[0]], finder.find(PHOTO))
    assert finding.choice.main is None and check.asked == 1
    finder = VehicleFinder(detector(Check(1.0), vehicle(0.9)), turned=False)  # 0.92, which an old rule would look at
    (finding,) = finder.decide([lambda: PHOTO[0]], finder.find(PHOTO))
    assert finding.choice.main is not None


def test_without_a_check_the_detectors_own_scores_count():
    check = Check()
    ours = detector(check, vehicle(0.97))
    finder = VehicleFinder(ours, check=False)
    (finding,) = finder.decide([lambda: PHOTO[0]], finder.find(PHOTO))
    assert finding.choice.main is not None and finding.choice.main.score == 0.97 and check.asked == 0
    assert finder.fingerprint == "found-0.84" and VehicleFinder(ours).fingerprint.startswith("found+abc123-0.84")
    assert rescored(ours, None) is ours


def test_evidence_is_linear_in_the_log_probabilities():
    probabilities = np.random.default_rng(1).dirichlet(np.ones(1000), 3).astype(np.float32)
    logs = log_classes(probabilities)
    assert logs.shape == (3, 1000) and np.allclose(logs.mean(axis=1), 0, atol=1e-4)
    weights = np.zeros(1000, np.float32)
    weights[817] = 2
    one = Evidence(weights, 0.5, 1, 0, 0.98, 0.3, "x")
    assert np.allclose(one.of(probabilities), 2 * logs[:, 817] + 0.5)
    assert np.isfinite(one.of(np.eye(1000, dtype=np.float32)[:2])).all()  # probabilities of 0
    again = Evidence.of_facts(json.loads(json.dumps(one.facts())))
    assert np.array_equal(again.weights, one.weights) and again.rescored(0.5, 1) == one.rescored(0.5, 1)


def test_the_bundled_evidence_is_for_the_bundled_detector_alone():
    from detection.detectors.compact.files import compact_fingerprint, compact_weights

    assert bundled_evidence(compact_fingerprint(compact_weights(), 0.84)) is not None
    assert bundled_evidence("compact-000000000000-0.84") is None


@pytest.mark.parametrize("fault", ["format", "shape", "details", "no file"])
def test_a_damaged_file_is_told(tmp_path, fault):
    path = tmp_path / "evidence.safetensors"
    details = json.dumps({"detector": "d", "constant": 0, "share": 1, "offset": 0, "certain": 1, "least": 0.3})
    metadata = {"format": "carclf-evidence-1", "details": details}
    if fault == "format":
        metadata["format"] = "another"
    if fault == "details":
        metadata["details"] = "{}"
    if fault != "no file":
        write_safetensors(path, {"weights": torch.zeros(999 if fault == "shape" else 1000)}, metadata)
    with pytest.raises(UsageError, match=r"reinstall carclf|check the path"):
        read_evidence(path)

"""The second look at photos that may lie on their side or upside down: turned, where nothing sure stands upright."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from detection.common.stream import try_batch
from detection.detectors.check.car_check import BEYOND_CARS
from detection.detectors.finder.rule import CheckError, Finding, Looker, View, apply_rule, crop_of
from detection.vehicle import TURNS, Look, Turn, Vehicle, turned_array, turned_back

# Chosen on one half of the photos that scripts/evaluate_finder.py reads, turned; it also prints the figures of the
# other half. A car that looks less like one than DOUBTFUL is looked for in every turn, and one that looks at least
# LIKENESS times as much like a car after a turn is looked for in that turn. What was found in the photo as it is gives
# way only to a turned one of the score SURER that is worth more by the factor MARGIN.
DOUBTFUL, LIKENESS, SURER, MARGIN = 0.5, 0.8, 0.93, 1.2
# Upside down, hardly a car has a score of CLEAR or looks as much like one as PLAIN: the check is not shown such a one
# turned. Both come from a sample of both halves.
CLEAR, PLAIN = 0.97, 0.85
# Detectors are surer of an upright car than of a turned one, but by little: this power makes it count.
_POWER = 10

Detect = Callable[[Sequence[np.ndarray]], list["list[Vehicle] | Exception"]]


@dataclass
class _Doubt:
    """turns: in which a photo is to be looked at. worth: what another vehicle must be worth more than. least: the score
    that it has to have."""

    turns: tuple[Turn, ...]
    worth: float
    least: float

    def gives_way(self, other: Vehicle | None) -> bool:
        return other is not None and other.score >= self.least and _worth(other) > self.worth


def look_turned(
    views: Sequence[View],
    findings: Sequence[Finding | Exception],
    detect: Detect,
    look: Looker,
    sure: float,
    only: Sequence[str] = (),
    every: bool = False,
) -> list[Finding | Exception]:
    """The findings, and of photos that are clearer when they are turned what was found there.

    views, findings: what `apply_rule` took and gave. detect: finds vehicles in photos, as `VehicleFinder.find` does.
    A turned photo counts only where the detector is sure of a vehicle, the check takes it for a car, and both together
    are surer than they are of the photo as it is. What is found comes in the photo as it is, with `Vehicle.turned`.
    The others: see `apply_rule`.
    """
    results = list(findings)
    doubts = _doubts(views, results, look)
    for turn in TURNS:
        asked: dict[int, np.ndarray] = {}
        for index, doubt in doubts.items():
            if turn in doubt.turns and not isinstance(results[index], Exception):
                try:
                    asked[index] = turned_array(views[index](), turn)
                except Exception as error:  # one odd photo costs one row, never the run
                    results[index] = error
        if not asked:
            continue
        found = [
            vehicles if isinstance(vehicles, Exception) else [turned_back(one, turn) for one in vehicles]
            for vehicles in detect(list(asked.values()))
        ]
        for index, finding in zip(
            asked, apply_rule([views[index] for index in asked], found, sure, look, only, every), strict=True
        ):
            if isinstance(finding, Exception):
                results[index] = finding
            elif doubts[index].gives_way(finding.choice.main):
                results[index], doubts[index].worth = finding, _worth(finding.choice.main)
    return results


def _doubts(views: Sequence[View], results: list[Finding | Exception], look: Looker) -> dict[int, _Doubt]:
    """The photos that are to be looked at again, by their places. One that the check fails at becomes an exception."""
    doubts: dict[int, _Doubt] = {}
    crops: list[np.ndarray] = []
    turns: list[tuple[int, Turn]] = []
    for index, finding in enumerate(results):
        if isinstance(finding, Exception):
            continue
        main = finding.choice.main
        if main is not None and main.kind in BEYOND_CARS:
            continue
        if main is None or finding.weak or (main.look is not None and main.look.car < DOUBTFUL):
            doubts[index] = _Doubt(TURNS, MARGIN * _worth(main), 0.0 if main is None else SURER)
            continue
        try:
            asked = _asked(main)
            crops += [crop_of(views[index](), main, turn) for turn in asked]
            turns += [(index, turn) for turn in asked]
        except Exception as error:
            results[index] = CheckError.of(error)
    seen: dict[int, dict[Turn, Look]] = {}
    for (index, turn), answer in zip(turns, try_batch(look, crops) if crops else (), strict=True):
        if isinstance(answer, Exception):
            results[index] = CheckError.of(answer)
        else:
            seen.setdefault(index, {})[turn] = answer
    for index, answers in seen.items():
        finding = results[index]
        if isinstance(finding, Exception) or finding.choice.main is None:
            continue
        upright = answers.get(0) or finding.choice.main.look
        if upright is None:
            continue
        clearer = tuple(turn for turn in TURNS if turn in answers and answers[turn].car >= LIKENESS * upright.car)
        if upright.car < DOUBTFUL or clearer:
            turns_to_see = TURNS if upright.car < DOUBTFUL else clearer
            doubts[index] = _Doubt(turns_to_see, MARGIN * _worth(finding.choice.main, upright), SURER)
    return doubts


def _asked(main: Vehicle) -> tuple[Turn, ...]:
    """The turns in which the check is to look at a vehicle that counts; most that the detector is very sure of need
    none."""
    x1, y1, x2, y2 = main.box
    plain = main.look is not None and main.look.car >= PLAIN
    upside_down: tuple[Turn, ...] = (180,) if main.score < CLEAR and not plain else ()
    on_its_side: tuple[Turn, ...] = (90, 270) if y2 - y1 > x2 - x1 else ()  # few cars are taller than wide
    turns = upside_down + on_its_side
    return (0, *turns) if turns and main.look is None else turns


def _worth(main: Vehicle | None, look: Look | None = None) -> float:
    """How sure detector and check are of a vehicle together, 0 to 1. look: the vehicle's own by default."""
    look = look or (None if main is None else main.look)
    return 0.0 if main is None or look is None else main.score**_POWER * look.car

"""Photos to cars, and what the photos of one car show together, on looks that are made up."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from carclf.classifier.contract import unit
from carclf.tools.audit.looks import Look
from carclf.tools.stock.car import stock_car
from carclf.tools.stock.cars import folder_cars, look_cars, strangers
from carclf.tools.stock.issues import compare_photos, find_issues
from carclf.tools.stock.photo import StockPhoto, stock_photo
from carclf.tools.stock.side.sides import KINDS, MIRRORED, SIDES, WANTED, wanted_sides
from detection.common.errors import UsageError

RNG = np.random.default_rng(3)
CAR_A, CAR_B = unit(RNG.normal(size=(2, 64)))
NOON = datetime(2026, 5, 1, 12)


def photo(file: str, vector=CAR_A, side="front left", bits=0, taken=None, status="ok", sharp=6.0, cut=0.0, sure=0.9):
    """A photo that was looked at: 200 x 100 pixels of car, of which nothing is wrong."""
    sides = np.full(len(KINDS), (1 - sure) / (len(KINDS) - 1))
    sides[KINDS.index(side)] = sure
    more = {"hash": f"{bits:016x}", "taken": "" if taken is None else taken.isoformat()}
    seen = status not in ("no_car", "unreadable")
    if seen:
        more |= {"side": sides.tolist(), "paint": [1 / 12] * 12}
    box = (0.0, 0.0, 200.0, 100.0) if seen else None
    near = unit(vector + 0.02 * RNG.normal(size=64)) if seen else None
    look = Look(status, "", box, (320, 240), 0.5, 1.0, sharp, 1.0, cut, 1.0, "", "", None, near, more=more)
    return stock_photo(file, Path(file), look, least=0.6)


def test_a_mirror_swaps_left_and_right_and_nothing_else():
    for number, side in enumerate(KINDS):
        assert MIRRORED[MIRRORED[number]] == number
        swapped = side.replace("left", "?").replace("right", "left").replace("?", "right")
        assert KINDS[MIRRORED[number]] == swapped


@pytest.mark.parametrize(
    ("text", "sides"),
    [(None, WANTED), ("all", SIDES), ("rear-right,front", ("front", "rear right")), (" left , left ", ("left",))],
)
def test_wanted_sides_come_in_one_order(text, sides):
    assert wanted_sides(text) == sides


@pytest.mark.parametrize("text", ["", "below", "front-left,top"])
def test_an_unknown_side_is_a_sentence(text):
    with pytest.raises(UsageError, match="--sides takes names"):
        wanted_sides(text)


def test_a_side_below_the_least_confidence_is_not_told():
    unsure = photo("a.jpg", sure=0.5)
    assert unsure.side == "" and unsure.confidence == pytest.approx(0.5)
    assert photo("b.jpg").side == "front left"
    assert photo("c.jpg", status="no_car").side == "other"
    assert photo("d.jpg", status="unknown").status == "ok"  # which model it is does not matter here


def test_cars_by_folder():
    assert folder_cars([photo("a/1.jpg"), photo("a/b/2.jpg"), photo("3.jpg")]) == ["a", "a/b", "."]


def test_cars_by_look_in_the_order_of_their_first_photos():
    photos = [photo("1", CAR_B), photo("2", CAR_A), photo("3", status="no_car"), photo("4", CAR_B), photo("5", CAR_A)]
    assert look_cars(photos, None) == ["car 001", "car 002", "", "car 001", "car 002"]
    assert look_cars([], None) == [] and look_cars(photos[2:3], None) == [""]


def test_time_joins_two_looks_between_which_nothing_else_would():
    between = unit(0.55 * CAR_A + 0.835 * CAR_B)  # 0.45 from the first: just too far
    soon, late = NOON + timedelta(seconds=20), NOON + timedelta(hours=2)
    for taken, cars in ((soon, 1), (late, 2), (None, 2)):
        assert len(set(look_cars([photo("1", CAR_A, taken=NOON), photo("2", between, taken=taken)], None))) == cars


def test_a_stranger_among_the_photos_of_a_folder():
    photos = [photo(str(number)) for number in range(4)] + [photo("4", CAR_B), photo("5", status="no_car")]
    assert strangers(photos, None) == [4]
    assert strangers(photos[3:5], None) == [0, 1]  # one against one: no one knows which
    assert strangers(photos[:4], None) == [] and strangers(photos[:1], None) == []


def test_copies_keep_the_best_and_only_from_one_side():
    photos = [photo("a", bits=0b1, sharp=3.0), photo("b", bits=0b11), photo("c", side="rear", bits=0b1)]
    find_issues(photos)
    compare_photos(photos, None, by_folder=True)
    assert [list(one.issues) for one in photos] == [["twice"], [], []] and "b" in photos[0].issues["twice"]


def test_issues_of_the_audit_and_those_of_a_stock():
    blurred, cut, inside = photo("a", sharp=1.0), photo("b", cut=0.9), photo("c", status="no_car")
    detail, broken = photo("d", side="other", cut=0.9), StockPhoto("e", Path("e"), None)
    find_issues([blurred, cut, inside, detail, broken])
    assert [list(one.issues) for one in (blurred, cut, inside, detail, broken)] == [
        ["blurred"],
        ["cut off"],
        ["no car"],
        [],
        ["unreadable"],
    ]


def test_a_car_knows_what_is_missing_and_how_its_advert_goes():
    photos = [photo("1", side="rear"), photo("2", sharp=1.0), photo("3"), photo("4", status="no_car")]
    photos += [photo("5", side="left", sure=0.3), photo("6", CAR_B, side="right")]
    find_issues(photos)
    compare_photos(photos[:4], None, by_folder=False)
    photos[5].issues["another car"] = ""
    car = stock_car("A", photos, ("front left", "right"))
    assert [one.file for one in car.advert] == ["3", "1", "4"]  # the best corner, the rear, the interior
    assert [one.place for one in car.photos] == [1, 2, 3, None, None, None]
    assert car.there == ["front left", "rear"] and car.missing == ["right"]  # another car's side is none of this one's
    assert car.problems == ["no right", "1 photo of another car", "1 photo blurred", "1 photo of unknown side"]

"""The page in a real browser: by keyboard, finger and screen reader, in two tabs, and while the server is gone."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from carclf.datasets.corrections.apply import read_corrections
from carclf.datasets.corrections.journal import read_decisions
from carclf.recognition.output.formats import encoded
from carclf.recognition.prediction import COLUMNS, Prediction
from tests.carclf.browsers import expect, needs_chromium
from tests.carclf.service.processes import Server

pytestmark = needs_chromium
PHONE = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}


@pytest.fixture
def visit(browser) -> Callable:
    """Opens the page at an address; fails the test when the browser reports anything in it that is not expected."""
    contexts, problems = [], []

    def visit(address: str, options: dict | None = None, expected: str = "", context=None):
        if context is None:
            context = browser.new_context(**(options or {}))
            contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" and not (
            expected and re.search(expected, message.text)) else None)  # fmt: skip
        page.on("request", lambda request: problems.append(f"asked elsewhere: {request.url}") if not (
            request.url.startswith((address, "data:"))) else None)  # fmt: skip
        page.goto(address)
        expect(page.locator("html[data-ready]")).to_have_count(1)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert problems == []


@pytest.fixture
def predicted(data: Path) -> Path:
    """Predictions of all photos: each is called the next colour, so the truth is the second best."""
    names = ["blue", "green", "red"]
    rows = []
    for file in sorted(data.rglob("*.jpg")):
        place = names.index(file.parent.name)
        said, other = names[(place + 1) % 3], names[place]
        rows.append(Prediction(str(file), "ok", said, 0.6, ((said, 0.6), (other, 0.4)), (10.0, 8.0, 40.0, 30.0)))
    path = data.parent / "rows.jsonl"
    path.write_bytes(b"".join(encoded([row.row() for row in rows], "jsonl", COLUMNS)))
    return path


def cell(page, place: int):
    return page.locator(f"#photo-{place}")


def on_disk(source: Path) -> list[tuple[str, str | None]]:
    """Decision and class of each line, oldest first."""
    return [(one.decision, one.new) for one in read_decisions(source / "corrections.jsonl")]


def test_with_the_keyboard_alone(data, listen, visit):
    page = visit(listen(data))
    expect(page.locator("#counted")).to_have_text("0 of 12 decided")
    cell(page, 0).focus()
    page.keyboard.press("a")
    expect(cell(page, 0)).to_have_attribute("data-state", "accept")
    page.keyboard.press("n")
    expect(cell(page, 1)).to_have_attribute("data-state", "no_car")
    page.keyboard.press("l")
    page.keyboard.press("u")
    expect(page.locator("#live")).to_have_text("Undone: blue/2.jpg.")
    assert page.evaluate("document.activeElement.id") == "photo-2"
    for key in ("ArrowDown", "ArrowUp", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("c")
    page.keyboard.type("re")
    expect(page.locator("#choose [role=option]")).to_have_text(["red", "green", "New class: re"])
    page.keyboard.press("Escape")
    page.keyboard.press("c")
    page.keyboard.type("red")
    expect(page.locator("#choose [role=option][aria-selected=true]")).to_have_text("red")
    page.keyboard.press("Enter")
    page.keyboard.press("c")
    page.keyboard.type("Rover 75")
    page.keyboard.press("Enter")
    expect(page.locator("#live")).to_have_text(re.compile("Rover 75"))
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.locator("#counted")).to_have_text("4 of 12 decided")
    assert on_disk(data) == [
        ("accept", "blue"), ("no_car", None), ("later", None), ("undo", None), ("class", "red"), ("class", "Rover 75"),
    ]  # fmt: skip
    assert {one.by for one in read_decisions(data / "corrections.jsonl")} == {"ann"}


def test_the_models_best_and_the_box(predicted, listen, visit):
    page = visit(listen(predicted))
    cell(page, 0).click()
    expect(page.locator("#best button")).to_have_text([re.compile(r"1\s*green\s*60 %"), re.compile(r"2\s*blue\s*40 %")])
    expect(page.locator("#drawing rect")).to_have_attribute("width", "30")
    frame, box = page.locator("#frame").bounding_box(), page.locator("#drawing rect").bounding_box()
    assert (box["x"] - frame["x"]) / frame["width"] == pytest.approx(10 / 60, abs=0.02)
    page.keyboard.press("2")
    expect(page.locator("#large-state")).to_have_text("2 of 12, to do")
    page.keyboard.press("1")  # the best one is its label: accepted
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#large-state")).to_have_text("was green, ann")
    page.keyboard.press("Escape")
    expect(cell(page, 1)).to_have_attribute("data-state", "accept")
    assert on_disk(predicted.with_name("rows.jsonl.review")) == [("class", "blue"), ("accept", "green")]


def test_look_alikes_with_another_label(data, vectors, listen, visit):
    (data / "green" / "0.jpg").rename(data / "blue" / "wrong.jpg")
    page = visit(listen(data, vectors=rename_in(vectors, "green/0.jpg", "blue/wrong.jpg")))
    expect(page.locator("#order [value=likeness]")).to_be_enabled()
    page.select_option("#group", "blue")
    page.locator(".cell[aria-label*=wrong]").click()
    expect(page.locator("#likes button span")).to_have_text(["green"] * 3 + ["red"] * 3)  # the nearest first
    page.keyboard.press("v")  # what looks like it comes first, in the grid
    page.select_option("#group", "")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.locator(".cell .label")).to_have_text(["blue"] + ["green"] * 3 + [re.compile("blue|red")] * 8)
    cell(page, 0).click()
    page.locator("#likes button").first.click()
    expect(page.locator("#counted")).to_have_text("1 of 12 decided")
    assert on_disk(data) == [("class", "green")]


def rename_in(vectors: Path, old: str, new: str) -> Path:
    rows = vectors.with_suffix(".csv")
    rows.write_text(rows.read_text().replace(old, new))
    return vectors


def test_a_group_is_decided_at_once_and_taken_back_at_once(data, listen, visit):
    page = visit(listen(data))
    page.select_option("#group", "green")
    expect(page.locator("#shown")).to_have_text("4 photos")
    page.get_by_role("button", name="Accept all").click()
    expect(page.get_by_role("heading", name="Are the labels of 4 photos right?")).to_be_visible()
    page.get_by_role("button", name="Accept 4 photos").click()
    expect(page.locator("#counted")).to_have_text("4 of 12 decided")
    assert on_disk(data) == [("accept", "green")] * 4
    page.get_by_role("button", name="Undo").first.click()
    expect(page.locator("#counted")).to_have_text("0 of 12 decided")
    cell(page, 0).focus()
    page.keyboard.press("x")
    page.keyboard.press("Shift+ArrowRight")
    expect(page.locator("#shown")).to_have_text("2 selected")
    page.get_by_role("button", name="Other class").click()
    page.keyboard.type("blu")
    page.keyboard.press("Enter")
    expect(page.locator("#counted")).to_have_text("2 of 12 decided")
    assert [one.new for one in read_corrections(data).decisions] == ["blue", "blue"]


def test_on_a_phone_by_finger(data, listen, visit):
    page = visit(listen(data), PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    cell(page, 0).tap()
    large = page.get_by_role("dialog")
    expect(large).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    for button in large.locator(".decide button").all():
        box = button.bounding_box()
        assert box["height"] >= 44 and box["x"] >= 0 and box["x"] + box["width"] <= 360
    expect(page.locator("#large-name")).to_have_text("blue/0.jpg")
    swipe(page, 300, 60)
    expect(page.locator("#large-name")).to_have_text("blue/1.jpg")
    swipe(page, 60, 300)
    expect(page.locator("#large-name")).to_have_text("blue/0.jpg")
    large.get_by_role("button", name="No car").tap()
    expect(page.locator("#large-name")).to_have_text("blue/1.jpg")
    large.get_by_role("button", name="Close").tap()
    expect(cell(page, 0)).to_have_attribute("data-state", "no_car")
    hold(page, cell(page, 4))
    cell(page, 5).tap()  # while some are selected a tap selects
    expect(page.locator("#shown")).to_have_text("2 selected")
    page.get_by_role("button", name="Accept").tap()
    page.get_by_role("button", name="Accept 2 photos").tap()
    expect(page.locator("#counted")).to_have_text("3 of 12 decided")


def swipe(page, start: int, end: int) -> None:
    """At a finger's pace: to Chromium a jump is a fling, and the tap after it only ends that."""
    send = page.context.new_cdp_session(page).send
    send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": start, "y": 150}]})
    for part in range(1, 9):
        x = start + (end - start) * part / 8
        send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [{"x": x, "y": 150}]})
        page.wait_for_timeout(16)
    page.wait_for_timeout(100)
    send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def hold(page, target) -> None:
    box = target.bounding_box()
    send = page.context.new_cdp_session(page).send
    point = {"x": box["x"] + 20, "y": box["y"] + 20}
    send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [point]})
    expect(target).to_have_attribute("aria-selected", "true")
    send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def test_two_people_see_each_other_and_lose_nothing(data, listen, visit):
    address = listen(data)
    ann, bob = visit(address), visit(address, expected="ERR_FAILED")  # of requests that the test lets fail
    bob.fill("#by", "bob")
    bob.locator("#by").press("Tab")
    cell(ann, 0).focus()
    ann.keyboard.press("n")
    expect(cell(bob, 0)).to_have_attribute("data-state", "no_car")
    expect(cell(bob, 0).locator(".why")).to_have_text("no car, ann")
    # Both decide about one photo, and bob's page has not heard of ann's decision.
    bob.route("**/api/changes*", lambda route: route.abort())
    ann.keyboard.press("a")
    expect(cell(ann, 1)).to_have_attribute("data-state", "accept")
    cell(bob, 1).focus()
    bob.keyboard.press("l")
    expect(bob.locator("#note")).to_contain_text("ann decided about this photo meanwhile")
    expect(cell(bob, 1)).to_have_attribute("data-state", "accept")
    cell(bob, 1).focus()
    bob.keyboard.press("l")  # now he has seen it
    expect(cell(ann, 1)).to_have_attribute("data-state", "later")
    assert [(one.by, one.decision) for one in read_decisions(data / "corrections.jsonl")] == [
        ("ann", "no_car"), ("ann", "accept"), ("bob", "later"),
    ]  # fmt: skip


@pytest.mark.slow
def test_a_killed_server_loses_nothing(data, visit):
    with start(data) as server:
        address = server.address + "/"
        page = visit(address, expected="ERR_CONNECTION_REFUSED|ERR_EMPTY_RESPONSE|ERR_CONNECTION_RESET")
        cell(page, 0).focus()
        page.keyboard.press("a")
        expect(cell(page, 0)).to_have_attribute("data-state", "accept")
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait()
        page.keyboard.press("n")
        page.keyboard.press("l")
        expect(page.locator("#away")).to_contain_text("2 decisions are not saved yet")
        expect(cell(page, 1)).to_have_attribute("data-state", "pending")
    assert on_disk(data) == [("accept", "blue")]
    with start(data, port=address.split(":")[-1].strip("/")):
        expect(cell(page, 1)).to_have_attribute("data-state", "no_car")
        expect(cell(page, 2)).to_have_attribute("data-state", "later")
        expect(page.locator("#away")).to_be_hidden()
        assert on_disk(data) == [("accept", "blue"), ("no_car", None), ("later", None)]
        page.reload()
        expect(page.locator("#counted")).to_have_text("2 of 12 decided · 1 later")
        page.close()


def start(source: Path, port: str = "0") -> Server:
    return Server("-m", "carclf", "review", str(source), "--port", port, "--name", "ann")


def test_what_was_not_sent_is_kept_over_a_reload(data, listen, visit):
    page = visit(listen(data), expected="ERR_FAILED")
    page.route("**/api/decide", lambda route: route.abort())
    cell(page, 0).focus()
    page.keyboard.press("n")
    expect(page.locator("#away")).to_contain_text("1 decision is not saved yet")
    page.on("dialog", lambda dialog: dialog.accept())  # "leave the page?"
    page.unroute("**/api/decide")
    page.reload()
    expect(page.locator("#counted")).to_have_text("1 of 12 decided")
    assert on_disk(data) == [("no_car", None)]


@pytest.mark.slow
def test_many_photos_are_few_elements(data, listen, visit):
    first = data / "red" / "0.jpg"
    for number in range(3000):
        os.link(first, data / "red" / f"copy{number:04}.jpg")
    page = visit(listen(data))
    expect(page.locator("#shown")).to_have_text("3,012 photos")
    page.locator("#grid").evaluate("grid => { grid.scrollTop = grid.scrollHeight / 2; }")
    expect(page.locator(".cell.seen .label").last).to_have_text("red")
    assert page.locator(".cell").count() < 120
    page.locator("#grid").focus()
    cell(page, 0).focus()
    page.keyboard.press("End")
    expect(cell(page, 3011)).to_be_focused()
    expect(cell(page, 3011)).to_have_attribute("aria-posinset", "3012")
    page.keyboard.press("Home")
    expect(cell(page, 0)).to_be_focused()


def test_a_screen_reader_is_told_all(predicted, listen, visit):
    page = visit(listen(predicted))
    option = page.get_by_role("listbox", name="Photos").get_by_role("option")
    expect(option.first).to_have_attribute("aria-label", re.compile("blue/0.jpg; green; to do$"))
    expect(option.first).to_have_attribute("aria-setsize", "12")
    for role, names in {
        "combobox": ("Show", "Group", "Class", "Sorted by"),
        "searchbox": ("Name",),
        "textbox": ("You",),
    }.items():
        for name in names:
            expect(page.get_by_role(role, name=name, exact=True)).to_have_count(1)
    assert page.locator("#live").get_attribute("aria-live") == "polite"
    option.first.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="green")
    expect(dialog).to_have_attribute("aria-modal", "true")
    expect(page.locator("#live")).to_have_text(re.compile("blue/0.jpg; green; to do"))
    expect(dialog.get_by_role("img")).to_have_attribute("alt", re.compile("Photo .*blue/0.jpg, green"))
    expect(dialog.get_by_role("combobox", name="Another class")).to_have_attribute("aria-expanded", "false")
    for _ in range(30):  # the focus stays in the dialog
        page.keyboard.press("Tab")
        assert page.evaluate("document.querySelector('#large').contains(document.activeElement)")
    page.keyboard.press("Escape")
    expect(option.first).to_be_focused()


def test_names_from_outside_are_text(data, listen, visit):
    evil = data / "<img src=x onerror=document.title=1>"
    evil.mkdir()
    (data / "red" / "0.jpg").rename(evil / "<b>.jpg")
    page = visit(listen(data))
    page.select_option("#order", "name")
    cell(page, 0).click()
    expect(page.locator("#large-label")).to_have_text(evil.name)
    expect(page).to_have_title("Review of data")

"""The page in a real browser: photos in by every way, each outcome seen, by mouse, keyboard and finger."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable

import pytest
from PIL import Image

from carclf.recognition.recognizer import CarRecognizer
from carclf.service.contract import Answer, Busy
from carclf.service.local.backend import LocalBackend
from tests.carclf.browsers import expect, needs_chromium
from tests.carclf.levels import LevelClassifier
from tests.carclf.service.stand_ins import BLUE, GREEN, GREY, RED, make_recognizer, photo
from tests.fakes import FakeDetector

pytestmark = needs_chromium
SETTLED = ".card:not([data-state=waiting]):not([data-state=busy])"


class Moody(LocalBackend):
    """A backend that can be told to be busy for some requests, or to fail."""

    def __init__(self, settings, metrics):
        super().__init__(make_recognizer, settings, metrics)
        self.busy, self.broken, self.sizes = 0, False, []

    async def recognize(self, uploads, pictures=False):
        self.sizes += [len(upload.data) for upload in uploads]
        if self.busy:
            self.busy -= 1
            raise Busy("many photos wait")
        if self.broken:
            return [Answer(file=upload.name, status="error", reason="the detector failed") for upload in uploads]
        return await super().recognize(uploads, pictures)


@pytest.fixture
def visit(browser, listen) -> Callable:
    """Opens the page of a new service; fails the test when anything in it is reported by the browser."""
    contexts, problems = [], []

    def visit(backend=None, options=None, expected: str = "", **settings):
        made = []

        def make(chosen, metrics):
            made.append((backend or Moody)(chosen, metrics))
            return made[0]

        address = listen(make, **settings)
        context = browser.new_context(**(options or {}))
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" and not (
            expected and re.search(expected, message.text)) else None)  # fmt: skip
        page.on("request", lambda request: problems.append(f"asked elsewhere: {request.url}") if not (
            request.url.startswith((address, "blob:", "data:"))) else None)  # fmt: skip
        # Choosers are caught from now on: asked for later, that may come after the key that opens one.
        page.on("filechooser", lambda chooser: None)
        page.goto(address)
        expect(page.locator("#note")).to_be_hidden(timeout=300_000)  # real models on a busy machine
        page.backend = made[0]
        return page

    yield visit
    for context in contexts:
        context.close()
    assert problems == []


def give(page, *photos: bytes, to: str = "#files", names: tuple[str, ...] = ()):
    page.set_input_files(to, [
        {"name": name, "mimeType": "image/jpeg", "buffer": data}
        for data, name in zip(photos, names or [f"photo{number}.jpg" for number in range(9)], strict=False)
    ])  # fmt: skip
    expect(page.locator(SETTLED)).to_have_count(len(photos), timeout=20_000)


def test_a_car_is_named_outlined_and_cut_out(visit):
    page = visit()
    give(page, photo(RED, (480, 640)))
    card = page.locator(".card")
    expect(card).to_have_attribute("data-state", "ok")
    expect(card.locator("h2")).to_have_text("Red Coupe 2011")
    expect(card.locator(".text")).to_have_text("Fairly sure, 90 %")
    expect(card.locator(".paint")).to_have_text("Colour: red")
    expect(card.locator(".guesses .name")).to_have_text(["Red Coupe 2011", "Blue Sedan 2012", "Green Van 2009"])
    expect(card.locator(".guesses .share")).to_have_text(["90 %", "6 %", "4 %"])
    widths = card.locator(".bar span").evaluate_all("all => all.map(one => one.getBoundingClientRect().width)")
    assert widths[0] == pytest.approx(15 * widths[1], rel=0.05)
    expect(card.locator(".cutout img")).to_be_visible()
    assert card.locator(".cutout img").evaluate("image => image.naturalWidth") > 50
    expect(page.locator("#live")).to_have_text("photo0.jpg: Red Coupe 2011. Fairly sure, 90 %")
    # the outline lies round the red rectangle as the browser shows it: at a quarter to three quarters of the width
    frame, edge = card.locator(".frame img").bounding_box(), card.locator(".outline .edge").bounding_box()
    left, right = (edge["x"] - frame["x"]) / frame["width"], (edge["x"] + edge["width"] - frame["x"]) / frame["width"]
    top = (edge["y"] - frame["y"]) / frame["height"]
    assert (left, right, top) == pytest.approx((0.25, 0.75, 0.4), abs=0.03)


def test_every_outcome_has_words_of_its_own(visit):
    page = visit(expected="422")
    give(page, photo(GREEN), photo(GREY), photo(RED)[:900], photo(BLUE))
    expect(page.locator(".card h2")).to_have_text(
        ["A car, but none that I know for sure", "No car here", "This photo can't be read", "Blue Sedan 2012"]
    )
    unknown, none, unreadable, _ = page.locator(".card").all()
    expect(unknown.locator(".guesses li")).to_have_count(3)
    assert unknown.locator(".outline path").count() == 3
    assert none.locator(".outline path").count() == 0
    expect(none.locator(".guesses")).to_be_hidden()
    expect(none.locator(".paint")).to_be_hidden()
    expect(unreadable.locator(".text")).to_contain_text("truncated")


class Levelled(LocalBackend):
    """A car whose make is sure, and whose model is not."""

    def __init__(self, settings, metrics):
        super().__init__(lambda: CarRecognizer(LevelClassifier(0.4, 0.2, 0.35, 0.03, 0.02), FakeDetector()), settings)


def test_a_sure_make_is_told_with_what_the_car_probably_is(visit):
    page = visit(Levelled)
    give(page, photo(RED))
    card = page.locator(".card")
    expect(card.locator("h2")).to_have_text("Audi, probably an S4 or an A4")
    expect(card.locator(".text")).to_have_text("Very sure, 95 %")
    expect(card.locator(".guesses .name").first).to_have_text("Audi A4 2010")
    expect(page.locator("#live")).to_have_text("photo0.jpg: Audi, probably an S4 or an A4. Very sure, 95 %")


@pytest.mark.slow
def test_a_busy_service_is_asked_again_and_a_broken_one_on_demand(visit):
    page = visit(expected="503")
    page.backend.busy = 1
    page.set_input_files("#files", {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": photo(RED)})
    expect(page.locator(".card h2")).to_have_text("The service is busy")
    expect(page.locator(".card h2")).to_have_text("Red Coupe 2011", timeout=20_000)
    page.backend.broken = True
    page.locator(".remove").click()
    give(page, photo(BLUE))
    expect(page.locator(".card h2")).to_have_text("That did not work")
    page.backend.broken = False
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".card h2")).to_have_text("Blue Sedan 2012")


def test_paste_and_drop(visit):
    page = visit()
    make_transfer = """data => {
        const bytes = Uint8Array.from(atob(data), letter => letter.charCodeAt(0));
        const transfer = new DataTransfer();
        transfer.items.add(new File([bytes], "given.jpg", { type: "image/jpeg" }));
        return transfer;
    }"""
    for kind, key in (("drop", "dataTransfer"), ("paste", "clipboardData")):
        transfer = page.evaluate_handle(make_transfer, base64.b64encode(photo(BLUE)).decode())
        event = page.evaluate_handle(
            "([kind, key, transfer]) => new (kind == 'drop' ? DragEvent : ClipboardEvent)"
            "(kind, { bubbles: true, cancelable: true, [key]: transfer })",
            [kind, key, transfer],
        )
        page.locator("main").evaluate("(element, event) => element.dispatchEvent(event)", event)
    expect(page.locator(".card h2")).to_have_text(["Blue Sedan 2012"] * 2)


def test_with_the_keyboard_alone(visit):
    page = visit()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "files"
    assert page.locator(".drop label").evaluate("label => getComputedStyle(label).outlineStyle") == "solid"
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files({"name": "a.jpg", "mimeType": "image/jpeg", "buffer": photo(RED)})
    expect(page.locator(".card h2")).to_have_text("Red Coupe 2011")
    for _ in range(3):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.className") == "remove":
            break
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Remove a.jpg"
    page.keyboard.press("Enter")
    expect(page.locator(".card")).to_have_count(0)
    assert page.evaluate("document.activeElement.id") == "files"


def test_on_a_phone(visit):
    page = visit(options={"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True})
    camera = page.locator("label[for=camera]")
    expect(camera).to_be_visible()
    assert page.locator("#camera").get_attribute("capture") == "environment"
    with page.expect_file_chooser() as chooser:
        camera.tap()
    chooser.value.set_files({"name": "IMG_1.jpg", "mimeType": "image/jpeg", "buffer": photo(RED, (400, 300))})
    expect(page.locator(".card h2")).to_have_text("Red Coupe 2011")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    photo_box, words = page.locator(".frame").bounding_box(), page.locator(".card h2").bounding_box()
    assert words["y"] > photo_box["y"] + photo_box["height"]


@pytest.mark.slow
def test_large_photos_are_shrunk_before_they_are_sent_and_turned_as_exif_says(visit):
    exif = Image.Exif()
    exif[0x0112] = 6
    page = visit()
    large = photo(RED, (2400, 3200), quality=100, exif=exif.tobytes()) + bytes(2_000_000)
    give(page, large)
    expect(page.locator(".card h2")).to_have_text("Red Coupe 2011")
    assert page.backend.sizes[0] < 300_000
    assert page.locator(".outline").get_attribute("viewBox") == "0 0 1536 2048"
    frame, edge = page.locator(".frame").bounding_box(), page.locator(".outline .edge").bounding_box()
    assert frame["height"] > frame["width"]
    assert (edge["y"] - frame["y"]) / frame["height"] == pytest.approx(0.25, abs=0.03)


def test_the_key_is_asked_for_and_kept_for_the_tab(visit):
    page = visit(api_key="open-sesame", expected="401")
    field = page.locator("#key")
    expect(field).to_be_focused()
    page.set_input_files("#files", {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": photo(RED)})
    expect(page.locator(".card h2")).to_have_text("An API key is needed")
    field.fill("wrong")
    field.press("Enter")
    expect(page.locator("#key-form label")).to_have_text("That is not the API key. Try again:")
    field.fill("open-sesame")
    field.press("Enter")
    expect(page.locator(".card h2")).to_have_text("Red Coupe 2011")
    page.reload()
    give(page, photo(BLUE))
    expect(page.locator("#key-form")).to_be_hidden()


def test_names_from_outside_are_text(visit):
    page = visit()
    give(page, photo(RED), names=('<img src=x onerror="document.title=1">.jpg',))
    expect(page.locator(".card > figure > figcaption")).to_have_text('<img src=x onerror="document.title=1">.jpg')
    expect(page).to_have_title("Which car is this?")


@pytest.mark.slow
def test_too_large_a_file_is_told_without_sending_it(visit):
    page = visit(max_photo_bytes=1000)
    give(page, photo(RED))
    expect(page.locator(".card h2")).to_have_text("This file is too large")
    assert page.backend.sizes == []


@pytest.mark.slow
def test_the_description_of_the_api_is_drawn_without_foreign_scripts(visit):
    pytest.importorskip("fastapi_offline")
    page = visit()
    page.goto(page.url + "docs")
    expect(page.locator("#operations-default-predict_predict_post")).to_be_visible()


@pytest.mark.slow
def test_without_scripts_a_plain_form_is_answered(browser, listen):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(listen())
    page.set_input_files("noscript input", {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": photo(RED)})
    page.get_by_role("button", name="Send").click()
    expect(page.locator("body")).to_contain_text('"label":"Red Coupe 2011"')
    context.close()


@pytest.mark.slow
def test_a_real_car_and_a_real_cat(visit, shared_data):
    """The bundled models on photos from life."""
    from carclf.service.choose import load_recognizer

    cat = shared_data / "not_car" / "plain" / "n02123597_Siamese_cat.jpg"
    car = sorted((shared_data / "stanford_cars" / "images" / "Audi S4 Sedan 2007").glob("*.jpg"))[0]
    make = lambda settings, metrics: LocalBackend(lambda: load_recognizer(settings), settings, metrics)  # noqa: E731
    page = visit(make, expected="503")  # until the models are loaded
    page.set_input_files("#files", [car, cat])
    expect(page.locator(SETTLED)).to_have_count(2, timeout=60_000)
    first, second = page.locator(".card").all()
    expect(first).to_have_attribute("data-state", "ok")
    assert first.locator(".outline path").count() == 3
    expect(first.locator(".guesses li")).to_have_count(5)
    named = first.locator("h2").inner_text().removeprefix("Perhaps: ").replace(",", "")  # "Audi, probably an S4"
    assert named.split()[0] == car.parent.name.split()[0]
    expect(second.locator("h2")).to_have_text("No car here")
    picture = Image.open(io.BytesIO(page.screenshot()))
    assert picture.width > 500

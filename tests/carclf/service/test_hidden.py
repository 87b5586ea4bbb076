"""What is private in the pictures that the service sends back: hidden by request, or always."""

from __future__ import annotations

import asyncio
import base64
import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from carclf.cli import app
from carclf.service.contract import Answer, Upload
from carclf.service.queue import queues
from carclf.service.queue.broker import BrokerBackend
from carclf.service.settings import ServiceSettings
from detection.common.errors import UsageError
from detection.publishing.hiding import private
from detection.publishing.hiding.cover import HideStyle
from tests.carclf.service.stand_ins import RED, as_files, photo
from tests.fakes import FakePlates

FILL = HideStyle(way="fill", margin=0.0)


@pytest.fixture(autouse=True)
def plates(monkeypatch):
    monkeypatch.setattr(private, "plate_finder", FakePlates)


def car(scale: int = 1) -> bytes:
    """A PNG of a red car whose plate is green and blue, `scale` times the size of `PLATE`."""
    image = np.asarray(Image.open(io.BytesIO(photo(RED, (96, 128), "PNG")))).copy()
    plate = image[56:65, 50:80]
    plate[:, :15], plate[:, 15:] = (20, 220, 20), (20, 20, 220)
    file = io.BytesIO()
    Image.fromarray(np.repeat(np.repeat(image, scale, 0), scale, 1)).save(file, "PNG")
    return file.getvalue()


def ask(client, data: bytes, query: str) -> dict:
    (answer,) = client.post(f"/predict{query}", files=as_files(data)).json()["answers"]
    return answer


def shows_plate(answer: dict) -> bool:
    data = base64.b64decode(answer["cutout"].split(",")[1])
    values = np.asarray(Image.open(io.BytesIO(data))).astype(int)
    return bool(((values[..., 1] > 150) & (values[..., 0] < 90) & (values[..., 2] < 90)).any())


def test_a_request_may_ask_for_it(client):
    plain, hidden = (ask(client, car(), query) for query in ("?pictures=true", "?pictures=true&hide=plates"))
    assert shows_plate(plain) and plain["hidden"] is None and plain["nearly_hidden"] is None
    assert not shows_plate(hidden) and len(hidden["hidden"]) == 1 and hidden["nearly_hidden"] == []
    assert hidden["hidden"][0]["score"] == 0.9 and len(hidden["hidden"][0]["corners"]) == 4
    same = {key: value for key, value in plain.items() if key not in ("cutout", "hidden", "nearly_hidden")}
    assert same == {key: hidden[key] for key in same}


def test_a_service_may_always_do_it_and_a_request_can_not_undo_it(serve):
    client = serve(hide=FILL)
    for query in ("?pictures=true", "?pictures=true&hide=", "?pictures=true&hide=plates"):
        assert not shows_plate(ask(client, car(), query))
    assert ask(client, car(), "")["hidden"] is None  # there is no picture


def test_corners_are_those_of_the_photo_that_was_sent(serve):
    (large,) = ask(serve(max_side=128), car(3), "?pictures=true&hide=plates")["hidden"]
    (small,) = ask(serve(), car(), "?pictures=true&hide=plates")["hidden"]
    assert np.allclose(np.array(large["corners"]), 3 * np.array(small["corners"]), atol=0.5)


@pytest.mark.parametrize("names", ["wheels", "plates,wheels", ","])
def test_what_can_not_be_hidden_is_a_sentence(client, names):
    response = client.post(f"/predict?pictures=true&hide={names}", files=as_files(car()))
    assert response.status_code == 422 and "can't be hidden" in response.json()["detail"]


def test_what_is_hidden_goes_with_a_photo_to_the_workers():
    headers = queues.PhotoHeaders("a.jpg", "web1", True, hide="plates").encode()
    assert queues.PhotoHeaders.decode(headers).hide == "plates"
    assert "carclf-hide" not in queues.PhotoHeaders("a.jpg", "web1", True).encode()


@pytest.mark.parametrize("hidden", [None, []])
def test_a_picture_of_a_worker_that_hides_nothing_is_not_passed_on(monkeypatch, caplog, hidden):
    backend = BrokerBackend("amqp://guest:guest@127.0.0.1:1/")

    async def answered(self, upload, headers, ticket, until):
        assert headers["carclf-hide"] == upload.hide
        answer = Answer(file="", status="ok", label="car", cutout="data:image/jpeg;base64,", hidden=hidden)
        self._waiting[ticket].set_result((answer, "m"))

    monkeypatch.setattr(BrokerBackend, "_send", answered)
    asked = Upload("a.jpg", car(), "plates")
    ((answer, _),) = asyncio.run(backend._ask([asked], True, float("inf")))
    assert (answer.cutout is None) == (hidden is None) and answer.label == "car"
    assert ("older version" in caplog.text) == (hidden is None)
    ((answer, _),) = asyncio.run(_ask_plain(backend, asked, monkeypatch))
    assert answer.cutout is not None


async def _ask_plain(backend: BrokerBackend, upload: Upload, monkeypatch):
    async def answered(self, upload, headers, ticket, until):
        self._waiting[ticket].set_result((Answer(file="", status="ok", cutout="data:image/jpeg;base64,"), "m"))

    monkeypatch.setattr(BrokerBackend, "_send", answered)
    return await backend._ask([replace(upload, hide="")], True, float("inf"))


@pytest.mark.parametrize("verb", ["serve", "worker"])
def test_the_commands_hand_the_style_on(monkeypatch, verb):
    taken = []
    monkeypatch.setattr("carclf.service.server.run", taken.append)
    monkeypatch.setattr("carclf.service.queue.worker.run_worker", lambda url, settings, *_: taken.append(settings) or 0)
    more = ("--broker", "amqp://guest:guest@127.0.0.1/") if verb == "worker" else ()
    assert CliRunner().invoke(app, [verb, *more]).exit_code == 0
    result = CliRunner().invoke(app, [verb, *more, "--hide", "plates", "--way", "fill", "--margin", "0"])
    assert result.exit_code == 0, result.output
    assert [settings.hide for settings in taken] == [None, FILL]
    result = CliRunner().invoke(app, [verb, *more, "--way", "fill"])
    assert result.exit_code == 2 and "pass --hide plates, too" in result.output


def test_how_workers_hide_is_theirs_to_say():
    broker = "amqp://guest:guest@127.0.0.1/"
    assert ServiceSettings.of(broker=broker, hide=HideStyle()).hide == HideStyle()
    with pytest.raises(UsageError, match="say how with `carclf worker --way`"):
        ServiceSettings.of(broker=broker, hide=FILL)

"""What goes through the queue, without a server: messages, addresses, and what is said when there is none."""

from __future__ import annotations

import asyncio
import logging
import socket

import pytest
from typer.testing import CliRunner

pytest.importorskip("faststream", reason="the queue is not installed: pip install 'carclf[queue]'")

from carclf.recognition.recognizer import CarRecognizer
from carclf.service.choose import make_backend
from carclf.service.contract import Busy, Upload
from carclf.service.local.backend import LocalBackend
from carclf.service.queue import queues
from carclf.service.queue.broker import BrokerBackend
from carclf.service.settings import ServiceSettings
from detection.common.errors import UsageError
from detection.publishing.hiding.cover import HideStyle
from tests.carclf.service.stand_ins import ColourClassifier
from tests.fakes import FakeDetector

SECRET = "s3cr3t"


@pytest.mark.parametrize(
    "url, shown",
    [
        (f"amqp://anna:{SECRET}@rabbit:5672/cars", "amqp://anna:***@rabbit:5672/cars"),
        (f"amqps://anna:{SECRET}@rabbit/?keyfile=/keys/{SECRET}", "amqps://anna:***@rabbit/"),
        (f"amqp://:{SECRET}@rabbit", "amqp://:***@rabbit"),
        ("amqp://anna@rabbit", "amqp://anna@rabbit"),
        ("amqp://rabbit:5672//", "amqp://rabbit:5672//"),
        (f"amqp:/anna:{SECRET}@rabbit", "..."),
        (f"anna:{SECRET}@rabbit", "..."),
        (f"amqp://anna:{SECRET}@rabbit:port/", "..."),
        (f"amqp://anna:{SECRET}@[rabbit/", "..."),
    ],
)
def test_no_password_is_shown(url, shown):
    assert queues.redact(url) == shown


@pytest.mark.parametrize(
    "url", [None, "", "rabbit", f"http://anna:{SECRET}@rabbit/", f"amqp://anna:{SECRET}@", f"amqp://a:{SECRET}@r:x/"]
)
def test_what_is_no_address_is_said_without_the_password(url):
    with pytest.raises(UsageError, match="address of a RabbitMQ server") as caught:
        queues.check_url(url)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("name", ["car.jpg", "Škoda №1.jpg", "\udcff.jpg", "n" * 70_000, ""])
def test_headers_of_any_name_can_be_sent_and_read(name):
    from pamqp.encode import field_table

    headers = queues.PhotoHeaders(name, "web1", pictures=True).encode()
    assert len(field_table(headers)) < 2_000  # all of them must fit one frame
    again = queues.PhotoHeaders.decode(headers)
    assert (again.web, again.pictures) == ("web1", True)
    assert again.name[:3] == name.encode("utf-8", "replace").decode()[:3]


def test_messages_of_version_04_name_no_model():
    headers = queues.PhotoHeaders("a.jpg", "web1", model="abc").encode()
    assert queues.PhotoHeaders.decode(headers).model == "abc"
    del headers[queues.MODEL_HEADER]
    assert queues.PhotoHeaders.decode(headers) == queues.PhotoHeaders("a.jpg", "web1")


@pytest.mark.parametrize("different", [{"threshold": 0.6}, {"tta": 2}, {"max_pixels": 7}, {"hide": HideStyle()}, {}])
def test_a_model_is_all_that_answers_depend_on(different):
    def model(**values) -> str:
        async def run() -> str:
            tta, threshold = values.pop("tta", 1), values.pop("threshold", None)
            recognizer = CarRecognizer(ColourClassifier(), FakeDetector(), tta=tta, threshold=threshold)
            backend = LocalBackend(lambda: recognizer, ServiceSettings.of(batch_size=1, **values))
            await backend.start()
            await backend.stop()
            return backend.model

        return asyncio.run(run())

    assert (model(**different) == model()) == (not different)


@pytest.mark.parametrize("headers", [{}, {"carclf-format": 99, "carclf-web": "a"}, {"carclf-format": 1}])
def test_headers_of_somebody_else_are_refused(headers):
    with pytest.raises(ValueError, match="not of a form"):
        queues.PhotoHeaders.decode(headers)


def test_dead_letters_tell_why():
    assert queues.death_of({"carclf-format": 1}) is None
    reasons = {
        queues.death_of({"x-first-death-reason": reason}) for reason in ("expired", "rejected", "delivery_limit")
    }
    assert len(reasons) == 3
    assert "maxlen" in queues.death_of({"x-first-death-reason": "maxlen"})


def test_photos_lie_on_disk_and_come_back_so_often_only():
    for name, limit in ((queues.PHOTOS, queues.RETURNS), (queues.RETRY, queues.RETRIES)):
        queue = queues.photos_queue(name)
        assert queue.durable
        assert queue.arguments["x-queue-type"] == "quorum"
        assert queue.arguments["x-delivery-limit"] == limit
        assert queue.arguments["x-dead-letter-exchange"] == queues.DEAD_EXCHANGE


def test_the_settings_choose_the_broker():
    settings = ServiceSettings.of(broker=f"amqp://a:{SECRET}@rabbit/", answer_timeout=7, queue_length=99)
    backend = make_backend(settings)
    assert isinstance(backend, BrokerBackend)
    assert (backend.timeout, backend.max_waiting) == (7, 99)
    assert SECRET not in repr(settings)


def test_a_server_that_is_away_is_waited_for_and_photos_are_refused_meanwhile(monkeypatch, caplog):
    monkeypatch.setattr("carclf.service.queue.broker.STARTING", 0.3)
    caplog.set_level(logging.DEBUG)
    with socket.socket() as taken:  # a port where nobody listens
        taken.bind(("127.0.0.1", 0))
        url = f"amqp://anna:{SECRET}@127.0.0.1:{taken.getsockname()[1]}/"

        async def run():
            backend = BrokerBackend(url)
            assert not backend.ready()
            await backend.start()
            try:
                assert not backend.ready()
                with pytest.raises(Busy):
                    await backend.recognize([Upload("a.jpg", b"")])
            finally:
                await asyncio.wait_for(backend.stop(), 5)

        asyncio.run(run())
    assert "no connection to amqp://anna:***@127.0.0.1" in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.parametrize("command", ["worker", "serve"])
def test_the_commands_take_the_address_from_the_environment(command, monkeypatch):
    from carclf.cli import app

    monkeypatch.setenv("CARCLF_BROKER", f"http://anna:{SECRET}@rabbit/")
    monkeypatch.setattr("carclf.service.queue.worker.run_worker", lambda *_: pytest.fail("it went on"))
    result = CliRunner().invoke(app, [command, "--port", "0"] if command == "serve" else [command])
    assert result.exit_code == 2
    assert "address of a RabbitMQ server" in result.output
    assert SECRET not in result.output


def test_a_worker_needs_an_address(monkeypatch):
    from carclf.cli import app

    monkeypatch.delenv("CARCLF_BROKER", raising=False)
    result = CliRunner().invoke(app, ["worker"])
    assert result.exit_code == 2
    assert "CARCLF_BROKER" in result.output

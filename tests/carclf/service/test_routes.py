"""What the service answers: by status, by key, when it is busy, and when something breaks."""

from __future__ import annotations

import io
import json
import logging
import re

import pytest
from PIL import Image

from carclf.service.contract import Busy
from carclf.service.local.backend import LocalBackend
from tests.carclf.service.stand_ins import (
    BLUE,
    GREEN,
    GREY,
    RED,
    as_files,
    make_local,
    make_recognizer,
    photo,
)


def ask(client, *photos: bytes, query: str = "", **more):
    return client.post(f"/predict{query}", files=as_files(*photos), **more)


def test_a_car_gets_its_name(client):
    answer = ask(client, photo(RED))
    assert answer.status_code == 200
    (row,) = answer.json()["answers"]
    assert (row["file"], row["status"], row["label"]) == ("car1.jpg", "ok", "Red Coupe 2011")
    assert row["confidence"] == pytest.approx(0.9)
    assert [guess["label"] for guess in row["top"]] == ["Red Coupe 2011", "Blue Sedan 2012", "Green Van 2009"]
    assert (row["width"], row["height"]) == (128, 96)
    assert row["box"] == pytest.approx([32, 38, 96, 72], abs=2)
    assert row["outline"] is None and row["cutout"] is None


def test_every_photo_has_its_own_answer_in_order(client):
    answer = ask(client, photo(BLUE), b"no photo at all", photo(GREY), photo(GREEN), photo(RED)[:900])
    assert answer.status_code == 200
    rows = answer.json()["answers"]
    assert [row["status"] for row in rows] == ["ok", "unreadable", "no_car", "unknown", "unreadable"]
    assert [row["file"] for row in rows] == [f"car{number}.jpg" for number in range(1, 6)]
    assert [row["label"] for row in rows] == ["Blue Sedan 2012", None, None, None, None]
    assert len(rows[3]["top"]) == 3 and rows[3]["confidence"] == pytest.approx(0.4)
    assert "'car5.jpg' is truncated" in rows[4]["reason"]


def test_when_no_photo_could_be_read_the_status_says_so_and_the_answers_are_there(client):
    answer = ask(client, b"nothing", b"")
    assert answer.status_code == 422
    assert "None of the photos" in answer.json()["detail"]
    assert [row["status"] for row in answer.json()["answers"]] == ["unreadable", "unreadable"]


def test_pictures_come_on_demand(client):
    (row,) = ask(client, photo(RED), query="?pictures=true").json()["answers"]
    (polygon,) = row["outline"]
    assert all(30 <= x <= 98 and 36 <= y <= 74 for x, y in polygon)
    kind, data = row["cutout"].split(",")
    assert kind == "data:image/jpeg;base64"
    import base64

    cutout = Image.open(io.BytesIO(base64.b64decode(data)))
    assert max(cutout.size) <= 480
    (row,) = ask(client, photo(GREY), query="?pictures=true").json()["answers"]
    assert row["outline"] is None and row["cutout"] is None


def test_coordinates_are_those_of_the_photo_as_it_is_seen(serve):
    """EXIF is honoured, and a photo that is shrunk for the models keeps its own pixels."""
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    client = serve(max_side=128)
    upright = ask(client, photo(RED, (384, 512), exif=exif.tobytes()), query="?pictures=true").json()["answers"][0]
    assert (upright["width"], upright["height"]) == (384, 512)
    # x 128-384, y 153-288 of the lying photo; turned clockwise: x = 384 - y, y = x
    assert upright["box"] == pytest.approx([96, 128, 231, 384], abs=12)
    xs, ys = zip(*upright["outline"][0], strict=True)
    assert (min(xs), min(ys), max(xs), max(ys)) == pytest.approx((96, 128, 231, 384), abs=12)


def test_unexpected_errors_are_one_sentence_and_in_the_log(serve, caplog):
    class Broken(LocalBackend):
        async def recognize(self, uploads, pictures=False):
            raise RuntimeError("secret /srv/path")

    client = serve(lambda settings, metrics: Broken(make_recognizer, settings, metrics))
    with caplog.at_level(logging.ERROR):
        answer = ask(client, photo())
    assert answer.status_code == 500
    assert answer.json() == {"detail": "The service failed at this; its log says why."}
    assert "secret /srv/path" in caplog.text
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_model_that_fails_costs_one_answer_and_tells_no_path(serve, caplog):
    def make(settings, metrics):
        recognizer = make_recognizer()
        predict = recognizer.classifier.predict

        def failing(crops, **more):
            if any(crop[crop.shape[0] // 2, crop.shape[1] // 2, 2] > 150 for crop in crops):
                raise OSError("can't read /srv/models/weights.bin")
            return predict(crops, **more)

        recognizer.classifier.predict = failing
        return LocalBackend(lambda: recognizer, settings, metrics)

    answer = ask(serve(make), photo(RED), photo(BLUE), photo(GREY))
    rows = answer.json()["answers"]
    assert [row["status"] for row in rows] == ["ok", "error", "no_car"]
    assert rows[1]["reason"] == "the classifier failed"
    assert "/srv" not in answer.text and "/srv/models" in caplog.text


def test_busy_is_503_with_a_time_to_come_again(serve):
    class Full(LocalBackend):
        async def recognize(self, uploads, pictures=False):
            raise Busy("64 photos wait already")

    answer = ask(serve(lambda settings, metrics: Full(make_recognizer, settings, metrics)), photo())
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert "try again" in answer.json()["detail"]


def test_an_answer_that_takes_too_long_is_503(serve):
    make = lambda settings, metrics: LocalBackend(lambda: make_recognizer(0.6), settings, metrics)  # noqa: E731
    answer = ask(serve(make, answer_timeout=0.1), photo())
    assert answer.status_code == 503
    assert "No answer within 0.1 seconds" in answer.json()["detail"]


def test_not_ready_before_the_models_are_loaded(serve):
    class Never(LocalBackend):
        async def start(self):
            raise RuntimeError("no models")

    from starlette.testclient import TestClient

    from carclf.service.settings import ServiceSettings
    from carclf.service.web.app import create_app

    settings, failures = ServiceSettings(), []
    with TestClient(create_app(Never(make_recognizer, settings), settings, failed=failures.append)) as client:
        assert client.get("/healthz").json() == {"status": "ok"}
        answer = client.get("/readyz")
        assert answer.status_code == 503 and answer.headers["retry-after"]
        assert ask(client, photo()).status_code == 503
    assert [str(failure) for failure in failures] == ["no models"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"X-API-Key": "wrong"}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "Basic b3BlbiBzZXNhbWU="}, 401),
        ({"X-API-Key": "säsame".encode()}, 401),
        ({"X-API-Key": "open-sesame"}, 200),
        ({"Authorization": "Bearer open-sesame"}, 200),
    ],
)
def test_api_key(serve, headers, status):
    client = serve(api_key="open-sesame")
    answer = ask(client, photo(), headers=headers)
    assert answer.status_code == status
    assert client.get("/metrics", headers=headers).status_code == status
    if status == 401:
        assert answer.headers["www-authenticate"] == "Bearer"
        assert "X-API-Key" in answer.json()["detail"]
    for open_to_all in ("/", "/healthz", "/readyz", "/openapi.json"):
        assert client.get(open_to_all).status_code == 200


def test_neither_keys_nor_queries_are_logged(serve, caplog):
    client = serve(api_key="open-sesame")
    with caplog.at_level(logging.DEBUG):
        ask(client, photo(), query="?pictures=true&X-API-Key=open-sesame", headers={"X-API-Key": "open-sesame"})
        client.get("/no%0Asuch")
    lines = [record.getMessage() for record in caplog.records if record.name == "carclf.access"]
    assert any(re.search(r'"POST /predict" 200 \d+ ms', line) for line in lines)
    assert any('"GET /no%0Asuch" 404' in line for line in lines)
    assert not any("sesame" in line or "pictures" in line or "car1.jpg" in line for line in lines)


def test_uploads_are_kept_only_where_asked_for(serve, tmp_path):
    folder = tmp_path / "kept"
    client = serve(save_uploads=folder)
    one = photo(RED)
    client.post("/predict", files=[("photos", ("../../evil.jpg", one, "image/jpeg"))])
    ask(client, one, photo(BLUE))
    assert sorted(file.read_bytes() for file in folder.iterdir()) == sorted([one, photo(BLUE)])
    assert all(re.fullmatch("[0-9a-f]{32}", file.name) for file in folder.iterdir())
    assert [file.name for file in tmp_path.iterdir()] == ["kept"]


def test_wrong_addresses_and_methods_are_sentences(client):
    missing = client.get("/nothing")
    assert missing.status_code == 404 and "/docs" in missing.json()["detail"]
    method = client.get("/predict")
    assert method.status_code == 405 and method.headers["allow"] == "POST"
    query = client.post("/predict?pictures=perhaps", files=as_files(photo()))
    assert query.status_code == 422 and "pictures" in query.json()["detail"]
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static//etc/passwd", "/docs/core.py"):
        assert client.get(path).status_code == 404


def test_headers_of_the_page_allow_its_own_files_only(client):
    page = client.get("/")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src 'self'" in policy and "unsafe" not in policy
    assert page.headers["cache-control"] == "no-cache"
    assert ask(client, photo()).headers["cache-control"] == "no-store"
    assert not re.search(r"https?:|//|\son\w+=|style=", re.sub(r"<!--.*?-->|</", "", page.text))
    for name in re.findall(r'(?:src|href)="(static/[^"]+)"', page.text):
        assert client.get(f"/{name}").status_code == 200
    script = client.get("/static/app.js")
    assert "javascript" in script.headers["content-type"]
    again = client.get("/static/app.js", headers={"If-None-Match": script.headers["etag"]})
    assert again.status_code == 304


def test_the_description_of_the_api_has_examples_and_fetches_nothing(client):
    description = client.get("/openapi.json").json()
    predict = description["paths"]["/predict"]["post"]
    assert set(predict["responses"]) == {"200", "400", "408", "413", "415", "422", "429", "503"}
    examples = predict["responses"]["200"]["content"]["application/json"]["examples"]
    from carclf.service.contract import Answer

    for example in examples.values():
        for answer in example["value"]["answers"]:
            Answer.model_validate(answer)
    assert set(description["paths"]) == {"/predict", "/healthz", "/readyz", "/metrics"}
    page = client.get("/docs")
    assert "http" not in page.text
    assert "unsafe-inline" not in page.headers["content-security-policy"].split("style-src")[0]
    assert json.dumps(description)


def test_swagger_ui_comes_from_here(client):
    pytest.importorskip("fastapi_offline")
    assert client.get("/docs/swagger-ui-bundle.js").status_code == 200
    assert client.get("/docs/swagger-ui.css").headers["content-type"].startswith("text/css")


def test_metrics_count_requests_answers_and_batches(client):
    ask(client, photo(RED), photo(GREY))
    client.get("/nothing/at/all")
    text = client.get("/metrics").text
    assert 'carclf_requests_total{method="POST",route="/predict",status="200"} 1.0' in text
    assert 'carclf_requests_total{method="GET",route="other",status="404"} 1.0' in text
    assert 'carclf_answers_total{status="no_car"} 1.0' in text
    assert "carclf_batch_photos_sum 2.0" in text
    assert 'carclf_stage_seconds_count{stage="decode"} 2.0' in text
    assert "carclf_waiting_photos 0.0" in text and "carclf_ready 1.0" in text
    assert "process_resident_memory_bytes" in text
    assert "nothing" not in text


def test_two_services_in_one_process_count_for_themselves(serve):
    one, other = serve(make_local), serve(make_local)
    ask(one, photo())
    assert 'route="/predict"' not in other.get("/metrics").text

"""Photos by URL: as photos that are sent, and only where it is allowed."""

from __future__ import annotations

from carclf.service.settings import ServiceSettings
from tests.carclf.service.photo_server import gives
from tests.carclf.service.stand_ins import RED, as_files, photo
from tests.carclf.service.urls.asked import ask, reaching, refused


def test_a_car_gets_its_name(serve, server):
    server.answers["/cars/my%20car.jpg?size=large"] = gives(photo(RED))
    answer = ask(serve(reaching(server)), server.url("/cars/my%20car.jpg?size=large#top"))
    assert answer.status_code == 200
    (row,) = answer.json()["answers"]
    assert (row["file"], row["status"], row["label"]) == ("my car.jpg", "ok", "Red Coupe 2011")
    assert server.asked == [("GET /cars/my%20car.jpg?size=large HTTP/1.1", f"127.0.0.1:{server.port}")]


def test_photos_can_be_sent_as_before_and_pictures_are_given(serve, server):
    client = serve(reaching(server))
    assert client.post("/predict", files=as_files(photo(RED))).json()["answers"][0]["status"] == "ok"
    (row,) = client.post("/predict?pictures=true", json={"url": server.url("/car.jpg")}).json()["answers"]
    assert row["outline"] and row["cutout"].startswith("data:image/")


def test_without_the_option_nothing_is_fetched(serve, server):
    assert "application/json" in refused(ask(serve(reaching(server), allow_urls=False), server.url("/car.jpg")), 415)
    assert server.asked == []
    assert not ServiceSettings().allow_urls


def test_the_key_comes_first(serve, server):
    client = serve(reaching(server), api_key="secret")
    assert ask(client, server.url("/car.jpg")).status_code == 401 and server.asked == []
    assert ask(client, server.url("/car.jpg"), headers={"X-API-Key": "secret"}).status_code == 200


def test_what_is_fetched_is_kept_only_where_asked_for(serve, server, tmp_path):
    assert ask(serve(reaching(server), save_uploads=tmp_path / "kept"), server.url("/car.jpg")).status_code == 200
    assert [path.read_bytes() for path in (tmp_path / "kept").iterdir()] == [photo(RED)]


def test_the_description_of_the_api_tells_of_it_only_where_it_is_allowed(serve):
    def described(**settings):
        operation = serve(**settings).get("/openapi.json").json()["paths"]["/predict"]["post"]
        return set(operation["requestBody"]["content"]), set(operation["responses"])

    bodies, answers = described()
    assert bodies == {"multipart/form-data", "application/json"} and {"403", "502", "504"} <= answers
    bodies, answers = described(allow_urls=False)
    assert bodies == {"multipart/form-data"} and not {"403", "502", "504"} & answers

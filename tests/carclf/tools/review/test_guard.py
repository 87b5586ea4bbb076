"""Who may ask what: other sites, other names of this machine, and people without the token."""

from __future__ import annotations

import pytest

from carclf.datasets.corrections.decision import new_id

HERE = "http://127.0.0.1:8010"
JSON = {"Content-Type": "application/json"}


def body(**changes) -> dict:
    return {"by": "ann", "decision": "no_car", "items": [{"n": 0, "seen": "", "id": new_id()}]} | changes


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Host": "evil.example", "Origin": "http://evil.example"},  # a name made to mean this machine
        {"Host": "evil.example:8010"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
    ],
)
def test_posts_of_other_sites_are_refused(data, client, headers):
    asked = client(data)
    import json

    answer = asked.post("/api/decide", content=json.dumps(body()), headers=JSON | headers)
    assert answer.status_code in (403, 415, 421) and answer.json()["detail"]
    assert asked.get("/api/source").json()["counts"]["no_car"] == 0


def test_the_page_itself_may_post(data, client):
    asked = client(data)
    for host in ("127.0.0.1:8010", "localhost:8010", "[::1]:8010", "localhost:9000"):  # the last one by a tunnel
        answer = asked.post("/api/decide", json=body(), headers={"Origin": f"http://{host}", "Host": host,
                                                                "Sec-Fetch-Site": "same-origin"})  # fmt: skip
        assert answer.status_code == 200
    assert asked.get("/api/source").json()["counts"]["no_car"] == 1


def test_photos_are_not_shown_to_other_sites(data, client):
    asked = client(data)
    assert asked.get("/thumb/0").status_code == 200
    for headers in ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, {"Host": "evil.example"}):
        assert asked.get("/thumb/0", headers=headers).status_code in (403, 421)
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert asked.get("/", headers=link).status_code == 200 and asked.get("/api/source", headers=link).status_code == 403
    headers = asked.get("/thumb/0").headers
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin" and headers["X-Frame-Options"] == "DENY"
    assert "script-src 'self'" in asked.get("/").headers["Content-Security-Policy"]


def test_other_machines_need_the_token(data, client):
    asked = client(data, token="open-sesame")
    for path in ("/", "/api/source", "/thumb/0", "/static/main.js", "/?token=wrong", "/api/source?token=open-sesame"):
        assert asked.get(path, headers={"Host": "box:8010"}).status_code == 401
    assert asked.post("/api/decide", json=body()).status_code == 401
    assert asked.get("/api/source", headers={"Authorization": "Bearer open-sesame"}).status_code == 200
    assert asked.get("/api/source", headers={"Cookie": "carclf-review=wrong"}).status_code == 401
    let_in = asked.get("/?token=open-sesame")
    cookie = let_in.headers["Set-Cookie"]
    assert let_in.status_code == 200 and "HttpOnly" in cookie and "SameSite=Strict" in cookie
    assert "open-sesame" not in let_in.text
    assert asked.get("/api/source").status_code == 200  # the client keeps the cookie
    refused = asked.post("/api/decide", json=body(), headers={"Origin": "https://evil.example"})
    assert refused.status_code == 403


@pytest.mark.parametrize(
    "wrong",
    [
        {"by": ""},
        {"by": " \u200b"},
        {"by": "a" * 300},
        {"decision": "undo"},
        {"decision": "class"},
        {"decision": "class", "new": " \n "},
        {"items": []},
        {"items": [{"n": 99, "seen": "", "id": "0" * 24}]},
        {"items": [{"n": -1, "seen": "", "id": "0" * 24}]},
        {"items": [{"n": 0, "seen": "", "id": "../x"}]},
        {"items": [{"n": 0, "seen": "", "id": "0" * 24}] * 501},
        {"more": 1},
    ],
)
def test_wrong_decisions_get_a_sentence(data, client, wrong):
    asked = client(data)
    answer = asked.post("/api/decide", json=body(**wrong))
    assert answer.status_code in (404, 422) and isinstance(answer.json()["detail"], str)
    assert len((data / "corrections.jsonl").read_bytes().splitlines()) == 1


def test_a_name_with_control_characters_becomes_plain(data, client):
    answer = client(data).post("/api/decide", json=body(by="a\x1b[31m\nb", decision="class", new=" Audi \t S4\u202e"))
    state = answer.json()["saved"][0]["state"]
    assert (state["by"], state["new"]) == ("a [31m b", "Audi S4")


def test_too_much_at_once_and_what_is_no_json(data, client):
    asked = client(data)
    assert asked.post("/api/decide", content=b" " * 2_000_000, headers=JSON).status_code == 413
    assert asked.post("/api/decide", content=b"{", headers=JSON).status_code == 422
    assert asked.get("/api/rows?n=1,x").status_code == 422 and asked.get("/api/rows?n=99").status_code == 404
    assert asked.get("/api/view?show=nothing").status_code == 422 and asked.get("/no-such").status_code == 404


def test_what_others_decide_is_told(data, client):
    asked = client(data)
    seq = asked.get("/api/view").json()["seq"]
    asked.post("/api/decide", json=body(by="bob"))
    told = asked.get(f"/api/changes?since={seq}").json()
    assert [row["state"]["by"] for row in told["rows"]] == ["bob"] and told["people"] == {"bob": 1} and not told["lost"]
    assert asked.get(f"/api/changes?since={told['seq']}").json()["rows"] == []
    assert asked.get("/api/changes?since=999").json()["lost"]  # the server has begun anew
    asked.post("/api/undo", json={"by": "bob"})
    assert asked.get(f"/api/changes?since={told['seq']}").json()["rows"][0]["state"] is None

"""Memory after many requests is what it was after some."""

from __future__ import annotations

import random
import time

import httpx
import pytest

from tests.carclf.service.processes import stand_in
from tests.carclf.service.stand_ins import BLUE, GREY, RED, as_files, photo
from tests.carclf.service.test_uploads import TYPE, body, bomb, part


def odd_requests():
    """What a service gets on a bad day, for ever, the same on every run."""
    chosen = random.Random(0)
    photos = [photo(colour, size) for colour in (RED, BLUE, GREY) for size in ((480, 640), (900, 1200), (96, 128))]
    large = photo(RED, (2000, 3000), quality=95)
    while True:
        kind = chosen.random()
        if kind < 0.6:
            yield {"files": as_files(chosen.choice(photos)), "params": {"pictures": kind < 0.3}}
        elif kind < 0.75:
            yield {"files": as_files(*chosen.choices(photos, k=4))}
        elif kind < 0.8:
            yield {"files": as_files(large)}
        elif kind < 0.85:
            yield {"content": body((part(), chosen.choice(photos)))[: chosen.randrange(50, 3000)], "headers": TYPE}
        elif kind < 0.9:
            yield {"content": body((part(), bomb(30_000, 30_000))), "headers": TYPE}
        elif kind < 0.95:
            yield {"files": as_files(chosen.choice(photos)[:700], b"junk" * 1000)}
        else:
            yield {"content": chosen.randbytes(200_000), "headers": {"Content-Type": "application/json"}}


@pytest.mark.slow
def test_memory_after_2000_requests_is_within_a_tenth_of_that_after_200():
    requests = odd_requests()
    with stand_in() as server, httpx.Client(base_url=server.address, timeout=60) as client:
        while client.get("/healthz").status_code != 200 or client.get("/readyz").status_code != 200:
            time.sleep(0.1)

        def ask(count: int) -> int:
            for _ in range(count):
                answer = client.post("/predict", **next(requests))
                assert answer.status_code < 500, answer.text
            return server.rss()

        early = ask(200)
        late = ask(1800)
        print(f"resident: {early / 1e6:.0f} MB after 200 requests, {late / 1e6:.0f} MB after 2,000")
        assert late <= 1.1 * early

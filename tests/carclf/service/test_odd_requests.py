"""Requests that Schemathesis makes up from the description of the API, right and wrong ones, over real HTTP."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.carclf.service.stand_ins import make_local

schemathesis = pytest.importorskip("schemathesis", reason="Schemathesis is not installed")


def ask_oddly(address: str, count: int) -> Counter:
    """Sends about `count` requests; the statuses of their answers. Fails on anything that the description lacks."""
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import strategies as st
    from schemathesis.checks import load_all_checks
    from schemathesis.generation import GenerationMode
    from schemathesis.specs.openapi import checks

    load_all_checks()
    wanted = [
        schemathesis.checks.not_a_server_error,
        checks.status_code_conformance,
        checks.content_type_conformance,
        checks.response_schema_conformance,
    ]
    schema = schemathesis.openapi.from_url(f"{address}/openapi.json")
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) == 4
    statuses: Counter = Counter()
    for operation in operations:
        share = 0.91 if operation.path == "/predict" else 0.03
        modes = [operation.as_strategy(generation_mode=mode) for mode in GenerationMode]

        @settings(
            max_examples=max(3, round(count * share)), deadline=None, database=None, derandomize=True,
            suppress_health_check=list(HealthCheck), phases=[Phase.generate],
        )  # fmt: skip
        @given(case=st.one_of(modes))
        def ask(case):
            answer = case.call(base_url=address, timeout=30)
            statuses[answer.status_code] += 1
            if answer.status_code not in (503, 405, 404):
                case.validate_response(answer, checks=wanted)
            if answer.status_code >= 400:
                assert answer.json()["detail"]
            for trace in (b"Traceback", b"site-packages", __file__.encode()):
                assert trace not in answer.content

        ask()
    return statuses


@pytest.mark.parametrize("count", [60, pytest.param(1000, marks=pytest.mark.slow)])
def test_odd_requests_get_a_clear_refusal_and_never_a_500(listen, count):
    statuses = ask_oddly(listen(make_local), count)
    print(dict(statuses))
    assert sum(statuses.values()) >= 0.8 * count
    assert not [status for status in statuses if status >= 500 and status != 503]
    assert len(statuses) > 2

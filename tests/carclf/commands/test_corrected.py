"""evaluate, data check and learn on photos that people corrected; and `carclf review` used wrongly."""

from __future__ import annotations

import json
import socket

import pytest

from carclf.datasets.content import content_digests
from carclf.datasets.corrections.apply import APPLIED
from carclf.datasets.corrections.decision import Decision, new_id, now
from carclf.datasets.corrections.journal import Journal
from carclf.tools.review.sources.source import read_source
from tests.carclf.tiny import CLASSES
from tests.carclf.wrong_usage import sentence


@pytest.fixture
def decided(photos, tmp_path):
    """The photos as data: red is a Lada; blue was called a Niva's twin, and is a VW; grey shows no car."""
    (tmp_path / "list.csv").write_text(
        f"file,class\nred.jpg,{CLASSES[0]}\nsub/blue.png,{CLASSES[0]}\ngrey.jpg,{CLASSES[1]}\n", encoding="utf-8"
    )
    journal = Journal(tmp_path / "decided")
    for name, decision, new in (("sub/blue.png", "class", CLASSES[2]), ("grey.jpg", "no_car", None)):
        digest = content_digests([str(photos / name)])[0]
        journal.add([Decision(new_id(), now(), "ann", decision, name, digest, "", CLASSES[0], new)])
    journal.close()
    return tmp_path / "decided"


def test_evaluate_measures_against_corrected_labels(carclf, photos, model, decided, tmp_path):
    out = tmp_path / "figures"
    result = carclf("evaluate", model, "--data", tmp_path / "list.csv", "--images", photos, "--output", out,
                    "--corrections", decided)  # fmt: skip
    assert result.exit_code == 0, result.output
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["n"] == 2 and (metrics["corrections"]["changed"], metrics["corrections"]["removed"]) == (1, 1)
    assert (out / APPLIED).is_file() and "1 label changed" in result.stderr
    rows = (out / "predictions.csv").read_text()
    assert CLASSES[2] in rows and "grey" not in rows
    shown = read_source(out)  # and its answers can be reviewed
    assert shown.kind == "evaluation" and sorted(map(shown.class_of, range(2))) == [CLASSES[0], CLASSES[2]]
    assert len(shown.best_of(0)) == 3 and all(file.endswith((".jpg", ".png")) for file in shown.files)


def test_data_check_looks_at_corrected_labels(carclf, photos, decided, tmp_path):
    result = carclf("data", "check", tmp_path / "list.csv", "--images", photos, "--corrections", decided,
                    "--json", tmp_path / "check.json")  # fmt: skip
    assert "1 label changed, 1 photo without a car removed" in result.stdout
    told = json.loads((tmp_path / "check.json").read_text())
    assert told["photos"] == 2 and told["corrections"]["changed"] == 1
    assert {row["label"] for row in told["rows"]} == {CLASSES[0], CLASSES[2]}


def test_learn_takes_the_names_of_groups_from_a_review(carclf, photos, model, tmp_path):
    groups = tmp_path / "groups"
    groups.mkdir()
    files = [photos / "red.jpg", photos / "sub" / "blue.png"]
    (groups / "groups.csv").write_text("group,class,file\n" + "".join(f"1,,{file}\n" for file in files))
    journal = Journal(groups)
    journal.add([Decision(new_id(), now(), "ann", "class", "x", content_digests([str(files[0])])[0], new="Rover 75")])
    journal.close()
    result = carclf("learn", groups / "groups.csv", "--base", model, "--output", tmp_path / "garage",
                    "--corrections", groups)  # fmt: skip
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("Rover 75: 1 photo\n") and "1 label changed" in result.stderr
    assert (tmp_path / f"garage.{APPLIED}").is_file()


def test_wrong_usage_is_one_sentence(carclf, photos, model, tmp_path):
    assert "There is no" in sentence(carclf("review", tmp_path / "nothing", "--port", 0))
    assert "is not there" in sentence(carclf("data", "check", photos, "--corrections", tmp_path / "nothing"))
    (tmp_path / "key").write_text("")
    assert "visible ASCII" in sentence(carclf("review", photos, "--port", 0, "--token-file", tmp_path / "key"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"Port {port}" in sentence(carclf("review", photos, "--port", port))

"""A training that was stopped, in whatever way, ends with the weights of one that was not."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from detection import UsageError
from detection.training.module import DetectorModule
from detection.training.train import resume_detector, train_detector
from tests.coco_photos import make_coco, tiny_training

# Every step is a checkpoint.
SMALL = {"init": "random", "ema": 0.6, "steps": 8, "steps_per_epoch": 4, "unfrozen": ["boxes", "masks"]}
OFTEN = SMALL | {"checkpoint_minutes": 1e-6}


class Killed(BaseException):
    """Stands for a kill: nothing gets to clean up after it but Lightning itself."""


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return make_coco(tmp_path_factory.mktemp("photos"), cars=6, empties=2)


@pytest.fixture(scope="module")
def undisturbed(source, tmp_path_factory):
    return load_file(train_detector(tiny_training(tmp_path_factory.mktemp("whole"), source, **OFTEN)))


def assert_same(weights, expected):
    """The very same tensors (the files' metadata comes in any order)."""
    found = load_file(weights)
    assert found.keys() == expected.keys()
    assert [name for name in found if not torch.equal(found[name], expected[name])] == []


def at_step(monkeypatch, wanted, act):
    """Calls `act` when the step numbered `wanted` (from 0) begins."""
    real = DetectorModule.training_step

    def step(self, batch, index):
        if self.global_step == wanted:
            act()
        return real(self, batch, index)

    monkeypatch.setattr(DetectorModule, "training_step", step)


def raise_killed():
    raise Killed


# In the first epoch, between two, in the second.
@pytest.mark.parametrize("step", [pytest.param(2, marks=pytest.mark.slow), 4, pytest.param(6, marks=pytest.mark.slow)])
def test_resumes_from_the_very_step(step, source, undisturbed, tmp_path, monkeypatch):
    config = tiny_training(tmp_path, source, **OFTEN)
    with monkeypatch.context() as patch:
        at_step(patch, step, raise_killed)
        with pytest.raises(Killed):
            train_detector(config)
    steps = []
    real = DetectorModule.training_step
    monkeypatch.setattr(
        DetectorModule, "training_step", lambda self, *rest: steps.append(self.global_step) or real(self, *rest)
    )
    assert_same(train_detector(config), undisturbed)
    assert steps == list(range(step, 8)), "no step twice, none left out"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGUSR1])
def test_a_signal_ends_the_step_says_how_to_resume_and_is_undone(
    number, source, undisturbed, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("SLURM_NTASKS", "1")
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    config = tiny_training(tmp_path, source, **SMALL)  # no checkpoint but the one at the signal
    handler = signal.getsignal(number)
    with monkeypatch.context() as patch:
        at_step(patch, 2, lambda: os.kill(os.getpid(), number))
        with pytest.raises(KeyboardInterrupt):
            train_detector(config)
    assert signal.getsignal(number) is handler
    said = capsys.readouterr().err
    resume = f"carclf train-detector --resume {tmp_path}/run"
    assert f"Stopped at step 3 of 8: the same command, or {resume}, resumes it." in said
    state = json.loads((tmp_path / "run" / "state.json").read_text())
    assert (state["state"], state["error"]) == ("failed", "stopped by hand")
    assert_same(train_detector(config), undisturbed)
    assert "Resuming from step 3 of 8" in capsys.readouterr().err


@pytest.mark.slow
def test_killed_between_the_last_step_and_the_weights(source, undisturbed, tmp_path, monkeypatch):
    config = tiny_training(tmp_path, source, **OFTEN)
    weights = train_detector(config)
    weights.unlink()
    at_step(monkeypatch, 8, raise_killed)
    assert_same(train_detector(config), undisturbed)


@pytest.mark.slow
def test_the_folder_alone_resumes_and_a_finished_run_stays_as_it_is(source, undisturbed, tmp_path, monkeypatch, capsys):
    config = tiny_training(tmp_path, source, **OFTEN)
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        at_step(patch, 6, raise_killed)
        with pytest.raises(Killed):
            train_detector(config)
    moved = run.rename(tmp_path / "moved")
    with pytest.raises(UsageError, match=r"other settings \(seed\)"):
        resume_detector(moved, ["seed=5"])
    assert_same(resume_detector(moved, ["workers=1", "checkpoint_minutes=9"]), undisturbed)
    assert not run.exists()
    state = json.loads((moved / "state.json").read_text())
    assert state["state"] == "finished" and len(state["resumed"]) == 1 and state["versions"]["detectron2"]
    moved.rename(run)
    capsys.readouterr()
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    for again, of in ((train_detector, config), (resume_detector, run)):
        assert again(of) == run / "compact.safetensors"
        assert capsys.readouterr().err == f"{run} is finished already\n"
    with pytest.raises(UsageError, match=r"other settings \(batch_size\)"):
        train_detector(config, ["batch_size=3"])
    assert before == {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    with pytest.raises(UsageError, match="no run folder"):
        resume_detector(run / "curves")


def test_two_trainings_of_one_run_are_refused(source, tmp_path):
    config = tiny_training(tmp_path, source, **OFTEN)
    (tmp_path / "run").mkdir()
    code = (
        "import sys, pathlib; from detection.common.files.locks import Lock; "
        "print(Lock(pathlib.Path(sys.argv[1])).take(), flush=True); input()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path / "run/.lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"True\n"
    try:
        with pytest.raises(UsageError, match="trained by another process"):
            train_detector(config)
    finally:
        process.kill()
        process.wait()


def test_a_training_that_cannot_begin_leaves_no_folder(source, tmp_path):
    config = tiny_training(tmp_path, source, **OFTEN)
    with pytest.raises(UsageError, match="is no start"):
        train_detector(config, ["init=nonsense"])
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_what_left_no_checkpoint_may_begin_with_other_settings(source, tmp_path, monkeypatch):
    """As the advice of a training that ran out of memory is."""
    config = tiny_training(tmp_path, source, **OFTEN)
    with monkeypatch.context() as patch:
        at_step(patch, 0, raise_killed)
        with pytest.raises(Killed):
            train_detector(config)
    assert train_detector(config, ["batch_size=1", "steps=1"])


@pytest.mark.slow
def test_another_training_is_refused(source, tmp_path_factory, tmp_path):
    config = tiny_training(tmp_path, source, **OFTEN)
    train_detector(config, ["steps=2"])
    with pytest.raises(UsageError, match=r"started with other settings \(batch_size\)"):
        train_detector(config, ["batch_size=3"])
    assert train_detector(config, ["steps=3", "workers=1"]), "longer, and with other means, is the same training"
    more = make_coco(tmp_path_factory.mktemp("more"), cars=7, empties=2)
    with pytest.raises(UsageError, match="photos or masks changed"):
        train_detector(tiny_training(tmp_path, more, **OFTEN))


class Bomb:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def test_a_damaged_checkpoint_is_one_sentence_and_nothing_is_unpickled(source, tmp_path):
    config = tiny_training(tmp_path, source, **OFTEN)
    train_detector(config, ["steps=1"])
    checkpoint = tmp_path / "run" / "checkpoints" / "last.ckpt"
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UsageError, match="damaged: delete it"):
        train_detector(config)
    checkpoint.write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    with pytest.raises(UsageError, match="damaged"):
        train_detector(config)
    torch.save({"global_step": 1, "state_dict": Bomb(tmp_path / "ran")}, checkpoint)
    with pytest.raises(UsageError, match="damaged"):
        train_detector(config)
    assert not (tmp_path / "ran").exists()


@pytest.mark.slow
def test_kill_9_and_the_same_command(source, undisturbed, tmp_path):
    config = tiny_training(tmp_path, source, **OFTEN)
    command = [sys.executable, "-m", "carclf.cli", "train-detector", str(config)]
    checkpoint = tmp_path / "run" / "checkpoints" / "last.ckpt"
    for _ in range(2):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        before = checkpoint.stat().st_mtime_ns if checkpoint.is_file() else 0
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            if checkpoint.is_file() and checkpoint.stat().st_mtime_ns > before:
                break
            time.sleep(0.01)
        process.kill()
        process.communicate()
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    weights = tmp_path / "run" / "compact.safetensors"
    assert done.stdout == f"{weights}\n"
    assert_same(weights, undisturbed)
    assert not list(checkpoint.parent.glob(".carclf-*")), "no half-written checkpoint stays"

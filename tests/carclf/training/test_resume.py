"""A training that is cut off at any moment ends as if it had not been."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
import torch
from pytorch_lightning.utilities.rank_zero import rank_zero_only

import carclf.training.loop
from carclf.runs.folder import resumed_config
from carclf.runs.tables import forget_later, read_batches, read_epochs
from carclf.training.loop import train
from carclf.training.module import StageModule
from carclf.training.record.checkpoints import BestEpoch
from carclf.training.record.log import EpochLog
from detection import UsageError
from detection.common.config import write_config
from detection.training.checkpoints import WholeCheckpoints
from detection.training.resume import RunState
from tests.carclf.drawn import draw_folders
from tests.carclf.short_runs import results, short_config, short_stage, weights

pytestmark = pytest.mark.usefixtures("no_pictures")

STAGES = [
    short_stage("head", learning_rate=0.02, optimizer="sgd", schedule="constant", dropout=0.3, augmentation=0.5),
    short_stage("half", 3, schedule="plateau", warmup=0.4, factor=0.3, layer_decay=0.8, mixup=0.4, dropout=0.3),
    short_stage("all", 2, learning_rate=0.01, schedule="onecycle", stop_patience=2, micro_batch=4, metric=0.3),
]
SETTINGS = {"stages": STAGES, "ema": 0.8, "deterministic": True, "validation": 0.25, "balance": "sampling"}


class Killed(BaseException):
    """Stands for the end of the process: nobody catches it, and nothing is tidied up."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    root = tmp_path_factory.mktemp("undisturbed")
    draw_folders(root / "photos", each=9)
    return train(short_config(root, **SETTINGS))


def same(run, other) -> None:
    """Everything but the times."""
    assert results(run) == results(other)
    ours, theirs = weights(run), weights(other)
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert not list(run.rglob("*.ckpt")) and not list(run.rglob("*.tmp"))


def as_task_of_slurm(monkeypatch) -> None:
    """The environment of the second of two tasks that srun started, as Lightning knows it."""
    slurm = {"NTASKS": 2, "JOB_ID": 77, "JOB_NAME": "cars", "NNODES": 1, "PROCID": 1, "LOCALID": 1, "NODEID": 0}
    for name, value in slurm.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    monkeypatch.setattr(rank_zero_only, "rank", 1)  # which Lightning reads when it is imported


def kill_at(monkeypatch, owner, name, when, after=False) -> None:
    """Ends the first call of a function for whose arguments `when` holds, before or after it has done its work."""
    real = getattr(owner, name)

    def call(*arguments, **named):
        if not when(*arguments):
            return real(*arguments, **named)
        if after:
            real(*arguments, **named)
        raise Killed

    monkeypatch.setattr(owner, name, call)


def test_killed_at_the_worst_moments(undisturbed, tmp_path, monkeypatch):
    """In a batch, between an epoch's row and its checkpoint, between stages, at the very end; and moved once."""
    monkeypatch.setattr(RunState, "fail", lambda self, error: None)  # a killed process says nothing
    run = tmp_path / "run"
    moments = [
        (carclf.training.loop, "run_stage", lambda net, number, job: number == 1, False),
        # In a batch of the second epoch, while the rate still rises and the average has moved.
        (EpochLog, "on_train_batch_end",
         lambda log, trainer, *rest: log.stage.name == "half" and trainer.current_epoch == 1 and rest[-1] == 1, True),
        # The epoch's rows are written, its checkpoint is not; the best one perhaps is.
        (WholeCheckpoints, "save_checkpoint",
         lambda io, checkpoint, path, *_: str(path).endswith("half/last.ckpt") and checkpoint["epoch"] == 2, False),
        (carclf.training.loop, "save_model", lambda net, info, path, *_: info.stage == "half", True),
        (carclf.training.loop, "save_model", lambda net, info, path, *_: info.stage == "all", False),
        (carclf.training.loop, "evaluate", lambda *_: True, True),
    ]  # fmt: skip
    config = short_config(undisturbed.parent, output=run, **SETTINGS)
    for number, (owner, name, when, after) in enumerate(moments):
        with monkeypatch.context() as patch:
            kill_at(patch, owner, name, when, after)
            with pytest.raises(Killed):
                train(config)
        if number == 2:  # its checkpoints name each other by the old path
            run = run.rename(tmp_path / "moved")
        config = resumed_config(run)
        (run / ".carclf-1-0.tmp").write_bytes(b"half of a file")
    same(train(config), undisturbed)
    state = json.loads((run / "state.json").read_text())
    assert state["state"] == "finished" and len(state["resumed"]) == len(moments) and state["error"] is None


def test_killed_where_another_process_reads_the_photos(undisturbed, tmp_path, monkeypatch):
    """It asks for the first batches before the training's loop knows in which epoch it is."""
    config = short_config(undisturbed.parent, output=tmp_path / "run", workers=1, **SETTINGS)
    with monkeypatch.context() as patch:
        kill_at(
            patch,
            EpochLog,
            "on_train_epoch_start",
            lambda log, trainer, *_: (log.stage.name, trainer.current_epoch) == ("half", 2),
        )
        with pytest.raises(Killed):
            train(config)
    same(train(resumed_config(tmp_path / "run")), undisturbed)


def test_a_stage_that_had_stopped_early_stays_so(undisturbed, tmp_path, monkeypatch):
    """Killed between its last epoch and its model's file, it does not train on."""
    stage = short_stage("head", 30, learning_rate=1e-6, stop_patience=1)
    config = short_config(undisturbed.parent, output=tmp_path / "run", stages=[stage], validation=0.3)
    with monkeypatch.context() as patch:
        kill_at(patch, carclf.training.loop, "save_model", lambda *_: True)
        with pytest.raises(Killed):
            train(config)
    epochs = read_epochs(tmp_path / "run")
    assert len(epochs) < 30
    train(resumed_config(tmp_path / "run"))
    assert read_epochs(tmp_path / "run") == epochs


def test_a_finished_run_stays_as_it_is(undisturbed, capsys):
    """Both ways: by the run alone, and by the same command."""
    before = {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*")}
    for config in (resumed_config(undisturbed), short_config(undisturbed.parent, output=undisturbed, **SETTINGS)):
        assert train(config) == undisturbed
        assert capsys.readouterr().err == f"{undisturbed} is finished already\n"
    assert before == {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*")}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_ends_the_step_says_how_to_resume_and_is_undone(number, undisturbed, tmp_path, monkeypatch, capsys):
    """In the second epoch, of which nothing is kept; the same command resumes the run. All in a job of SLURM."""
    as_task_of_slurm(monkeypatch)
    config = short_config(undisturbed.parent, output=tmp_path / "a run", **SETTINGS)
    handler = signal.getsignal(number)
    ended = []
    with monkeypatch.context() as patch:
        real = EpochLog.on_train_batch_end

        def end(log, trainer, module, outputs, batch, index):
            if log.stage.name == "half" and trainer.current_epoch == 1:
                ended.append(index)
                if index == 0:
                    os.kill(os.getpid(), number)
            real(log, trainer, module, outputs, batch, index)

        patch.setattr(EpochLog, "on_train_batch_end", end)
        with pytest.raises(KeyboardInterrupt):
            train(config)
    assert ended == [0] and signal.getsignal(number) is handler
    said = capsys.readouterr().err
    assert "Stopping after this step; once more stops at once." in said
    assert "Stopped in epoch 2/3 of stage 2/3 half (whole epochs kept: 1): the same command, or" in said
    assert f"carclf train --resume '{tmp_path / 'a run'}', resumes it." in said
    state = json.loads((tmp_path / "a run/state.json").read_text())
    assert (state["state"], state["error"]) == ("failed", "stopped by hand")
    same(train(config), undisturbed)


def test_what_0_4_left_at_a_signal_of_slurm_is_no_start(undisturbed, tmp_path, monkeypatch, capsys):
    """Lightning takes such a file for the start of every training in its folder."""
    as_task_of_slurm(monkeypatch)
    config = short_config(undisturbed.parent, output=tmp_path / "run", **SETTINGS)
    with monkeypatch.context() as patch:
        kill_at(patch, carclf.training.loop, "run_stage", lambda net, number, job: number == 1)
        with pytest.raises(Killed):
            train(config)
    (tmp_path / "run/hpc_ckpt_1.ckpt").write_bytes(b"of another stage")
    same(train(config), undisturbed)
    assert "hpc_ckpt_1.ckpt is removed" in capsys.readouterr().err


def test_a_second_signal_stops_at_once(undisturbed, tmp_path, monkeypatch):
    config = short_config(undisturbed.parent, output=tmp_path / "run", **SETTINGS)
    handler = signal.getsignal(signal.SIGINT)
    real = StageModule.training_step

    def step(module, batch, index):
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
        return real(module, batch, index)

    monkeypatch.setattr(StageModule, "training_step", step)
    with pytest.raises(KeyboardInterrupt):
        train(config)
    assert signal.getsignal(signal.SIGINT) is handler
    assert not (tmp_path / "run/epochs.csv").exists()


def test_a_stop_in_the_last_epoch_keeps_it(undisturbed, tmp_path, monkeypatch, capsys):
    config = short_config(undisturbed.parent, output=tmp_path / "run", **SETTINGS)
    with monkeypatch.context() as patch:
        real = StageModule.validation_step
        patch.setattr(
            StageModule, "validation_step", lambda *rest: (os.kill(os.getpid(), signal.SIGTERM), real(*rest))[1]
        )
        with pytest.raises(KeyboardInterrupt):
            train(config)
    assert "Stopped after stage 1/3 head" in capsys.readouterr().err
    assert [row["stage"] for row in read_epochs(tmp_path / "run")] == ["head"]
    same(train(config), undisturbed)


def test_checkpoints_of_version_0_4_know_their_best_epoch(tmp_path):
    """By the name of the class that kept it then, and whatever else was in the list of callbacks."""
    key = "Keeper{'monitor': 'val_accuracy', 'mode': 'max', 'every_n_train_steps': 0, 'every_n_epochs': 1, "
    assert BestEpoch(tmp_path).state_key.startswith(key)


def test_resuming_takes_the_machines_settings_only(undisturbed):
    assert resumed_config(undisturbed, ["workers=2", "threads=1"]).workers == 2
    with pytest.raises(UsageError, match=r"other settings \(ema\)"):
        train(resumed_config(undisturbed, ["ema=0.9"]))
    with pytest.raises(UsageError, match=r"other settings \(ema\)"):
        train(short_config(undisturbed.parent, output=undisturbed, **SETTINGS | {"ema": 0.9}))
    with pytest.raises(UsageError, match="no run folder"):
        resumed_config(undisturbed / "stages")


def test_two_trainings_of_one_run_are_refused(undisturbed):
    code = (
        "import sys, pathlib; from detection.common.files.locks import Lock; "
        "print(Lock(pathlib.Path(sys.argv[1])).take(), flush=True); input()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, undisturbed / ".lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"True\n"
    try:
        with pytest.raises(UsageError, match="trained by another process"):
            train(resumed_config(undisturbed))
    finally:
        process.kill()
        process.wait()


def test_checkpoints_run_no_code_and_are_never_half_there(tmp_path, monkeypatch):
    io = WholeCheckpoints()
    io.save_checkpoint({"epoch": 1, "x": torch.ones(3)}, tmp_path / "last.ckpt")
    monkeypatch.setattr(
        "detection.training.checkpoints.torch.save", lambda *_: (_ for _ in ()).throw(OSError("disk full"))
    )
    with pytest.raises(OSError, match="disk full"):
        io.save_checkpoint({"epoch": 2}, tmp_path / "last.ckpt")
    assert io.load_checkpoint(tmp_path / "last.ckpt")["epoch"] == 1
    monkeypatch.undo()
    torch.save({"code": EpochLog}, tmp_path / "evil.ckpt")
    with pytest.raises(Exception, match="[Ww]eights.only"):
        io.load_checkpoint(tmp_path / "evil.ckpt", weights_only=False)


def test_a_better_checkpoint_replaces_the_best_when_the_last_one_knows_it(tmp_path):
    io = WholeCheckpoints()
    for name in ("best-0000.ckpt", "best-0001.ckpt"):
        io.save_checkpoint({}, tmp_path / name)
    io.remove_checkpoint(tmp_path / "best-0000.ckpt")
    assert (tmp_path / "best-0000.ckpt").is_file()
    io.save_checkpoint({}, tmp_path / "last.ckpt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best-0001.ckpt", "last.ckpt"]


def test_torn_rows_are_dropped(tmp_path):
    (tmp_path / "batches.csv").write_text(
        "stage,epoch,batch,seconds,loss,learning_rate\nNA,1,1,0.1,2.0,0.1\nall,1,1,0.1,1.0,0.1\nall,2,1,0.1,1.0,0.1\nall,2,2,0."
    )
    (tmp_path / "epochs.csv").write_text("stage,epoch,seconds\nNA,1,0.5\nall,1,0.5\nall,2,0.5\n")
    forget_later(tmp_path, "all", 1)
    assert [(row["stage"], row["epoch"]) for row in read_batches(tmp_path)] == [("NA", 1), ("all", 1)]
    assert [(row["stage"], row["epoch"], row["seconds"]) for row in read_epochs(tmp_path)] == [
        ("NA", 1, 0.5), ("all", 1, 0.5)
    ]  # fmt: skip


@pytest.mark.slow
def test_killed_at_random_moments(undisturbed, tmp_path):
    """kill -9 of a whole process with reader processes, eight times; each resumes where the last one was cut off."""
    run = tmp_path / "run"
    write_config(short_config(undisturbed.parent, output=run, **SETTINGS), tmp_path / "c.yaml")
    moments = random.Random(0)
    command = [sys.executable, "-m", "carclf.cli", "train", tmp_path / "c.yaml"]
    for _ in range(8):
        process = subprocess.Popen(
            [*command, "workers=1"], stderr=subprocess.PIPE, text=True, stdout=subprocess.DEVNULL
        )
        for line in process.stderr:
            if "to train" in line:
                break
        else:  # all done
            break
        time.sleep(moments.uniform(0.05, 1.2) * float(os.environ.get("CARCLF_SLOWNESS", "2")))
        process.send_signal(signal.SIGKILL)
        process.wait()
        command = [sys.executable, "-m", "carclf.cli", "train", "--resume", run]
    done = subprocess.run([*command, "workers=0"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(run)
    same(run, undisturbed)

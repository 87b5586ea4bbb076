"""Several processes that train as one."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import carclf.training.data.dataset
import carclf.training.stage
from carclf.runs.folder import resumed_config
from carclf.runs.recipe import Stage
from carclf.training.distributed import is_launched, launch, on_first, place, wants_launch
from carclf.training.loop import train, train_here
from carclf.training.record.log import EpochLog
from carclf.training.stage import portion
from detection import UsageError
from detection.common.config import write_config
from tests.carclf.drawn import draw_folders
from tests.carclf.short_runs import results, short_config, short_stage, weights
from tests.folder_runs import ROOT
from tests.servers import free_port


@pytest.mark.parametrize(
    ("processes", "batch", "at_once", "mixup", "expected"),
    [(1, 32, 32, 0, 32), (1, 32, 12, 0, 8), (2, 32, 32, 0, 16), (2, 32, 8, 0, 4), (4, 36, 36, 0, 9), (1, 18, 9, 1, 6),
     (2, 6, 6, 0, 3)],
)  # fmt: skip
def test_a_batch_is_shared_out(monkeypatch, processes, batch, at_once, mixup, expected):
    monkeypatch.setattr(carclf.training.stage, "place", lambda: (0, processes))
    assert portion(Stage(name="x", batch_size=batch, mixup=mixup), at_once) == expected


@pytest.mark.parametrize(("processes", "batch", "mixup"), [(3, 32, 0), (4, 4, 0), (2, 6, 0.2)])
def test_a_batch_that_can_not_be_shared_out_is_one_sentence(monkeypatch, processes, batch, mixup):
    monkeypatch.setattr(carclf.training.stage, "place", lambda: (0, processes))
    with pytest.raises(UsageError, match=rf"set stages\.x\.batch_size to a multiple of {2 * processes}"):
        portion(Stage(name="x", batch_size=batch, mixup=mixup), batch)


def test_one_process_needs_no_others(tmp_path, monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    assert not is_launched() and place() == (0, 1)
    assert not wants_launch(short_config(tmp_path)) and not wants_launch(short_config(tmp_path, devices=[0]))
    assert wants_launch(short_config(tmp_path, devices=2)) and wants_launch(short_config(tmp_path, nodes=2))
    assert on_first(lambda a: a + 1, 2) == 3
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "torchrun's")
    assert not wants_launch(short_config(tmp_path, devices=2)), "others have started them"


def test_several_machines_need_to_know_each_other(tmp_path, monkeypatch):
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(UsageError, match="MASTER_ADDR"):
        launch(short_config(tmp_path, nodes=2), train_here)


def _train_and_tell(config) -> Path:
    """In each process: which photos it saw, and its weights in the end."""
    place = os.environ["RANK"]
    folder = config.data.parent
    seen, nets = [], []
    real, run_stage = carclf.training.data.dataset.CropDataset.__getitem__, carclf.training.loop.run_stage
    carclf.training.data.dataset.CropDataset.__getitem__ = lambda self, key: seen.append(key) or real(self, key)
    carclf.training.loop.run_stage = lambda net, number, job: nets.append(net) or run_stage(net, number, job)
    if os.environ.get("KILL_RANK") == place:
        start = EpochLog.on_train_epoch_start
        EpochLog.on_train_epoch_start = lambda log, trainer, module: (
            os._exit(9) if (log.stage.name, trainer.current_epoch) == ("all", 1) else start(log, trainer, module)
        )
    run = train_here(config)
    if nets:
        torch.save(nets[-1].state_dict(), folder / f"net-{place}.pt")
        keys = [key for key in seen if isinstance(key, tuple)]
        (folder / f"seen-{place}.json").write_text(json.dumps([keys, len(seen) - len(keys)]))
    return run


def _fail(config) -> None:
    if place()[0] == 1 or os.environ["RANK"] == "1":
        raise UsageError("The second process has had enough.")
    torch.distributed.init_process_group("gloo")  # for which it waits in vain


@pytest.mark.slow
def test_two_processes_end_with_the_same_weights(tmp_path, monkeypatch, capfd):
    """As those of one process, as far as no norm sees only half of a batch; a killed run goes on."""
    draw_folders(tmp_path / "photos", each=12)
    frozen = short_stage("head", 2, optimizer="sgd", augmentation=0.5)
    moving = short_stage("all", 2, schedule="plateau", warmup=0.3)
    settings = {"stages": [frozen, moving], "validation": 0.25, "ema": 0.5}
    config = short_config(tmp_path, devices=2, **settings)
    monkeypatch.setenv("KILL_RANK", "1")
    with pytest.raises(UsageError, match=r"Process [01] of 2 .* so all have.*--resume .*run. resumes"):
        launch(config, _train_and_tell)
    assert "Traceback" not in capfd.readouterr().err, "one sentence is enough"
    assert json.loads((tmp_path / "run/state.json").read_text())["state"] != "finished"
    assert (tmp_path / "run/checkpoints/2-all/last.ckpt").is_file()
    monkeypatch.delenv("KILL_RANK")
    run = launch(resumed_config(tmp_path / "run"), _train_and_tell)

    nets = [torch.load(tmp_path / f"net-{rank}.pt", weights_only=True) for rank in range(2)]
    assert all(torch.equal(nets[0][name], nets[1][name]) for name in nets[0])
    written = weights(run, "stages/2-all.safetensors")
    assert all(torch.equal(nets[0][name], value) for name, value in written.items())

    seen = [json.loads((tmp_path / f"seen-{rank}.json").read_text()) for rank in range(2)]
    epochs, numbers = zip(*(key for keys, _ in seen for key in keys), strict=True)
    assert set(epochs) == {1} and len(numbers) == len(set(numbers)) >= 24, "each photo once, in the epoch that was left"
    assert sorted(count for _, count in seen) == [4, 5], "validation photos too"

    epochs = pd.read_csv(run / "epochs.csv")
    assert epochs[["stage", "epoch"]].to_numpy().tolist() == [["head", 1], ["head", 2], ["all", 1], ["all", 2]]
    assert epochs["photos"].tolist() == [24] * 4
    assert json.loads((run / "state.json").read_text())["state"] == "finished"

    alone = train(short_config(tmp_path, output=tmp_path / "alone", **settings | {"stages": [frozen]}))
    ours, theirs = weights(run, "stages/1-head.safetensors"), weights(alone, "stages/1-head.safetensors")
    assert all(np.allclose(ours[name], theirs[name], atol=1e-5) for name in ours)
    columns = ["train_loss", "val_loss", "train_accuracy", "val_accuracy"]
    single = pd.read_csv(alone / "epochs.csv")[columns].to_numpy()
    assert np.allclose(epochs[columns][:2].to_numpy(), single, atol=1e-4)


@pytest.mark.slow
def test_an_error_of_one_process_ends_all_with_its_sentence(tmp_path):
    with pytest.raises(UsageError, match="has had enough"):
        launch(short_config(tmp_path, devices=2), _fail)


def _stop(config) -> None:
    if os.environ["RANK"] == "0":
        os.kill(os.getppid(), signal.SIGUSR1)
    time.sleep(600)


@pytest.mark.slow
def test_a_signal_of_slurm_stops_all_processes(tmp_path, capsys):
    handler = signal.getsignal(signal.SIGUSR1)
    with pytest.raises(KeyboardInterrupt):
        launch(short_config(tmp_path, devices=2), _stop)
    assert signal.getsignal(signal.SIGUSR1) is handler
    assert f"carclf train --resume {tmp_path / 'run'} resumes it" in capsys.readouterr().err


@pytest.mark.slow
def test_torchrun_on_two_machines_ends_as_two_processes_here(tmp_path):
    """The command of docs/cluster.md, with one process on each of two machines that are both this one."""
    draw_folders(tmp_path / "photos", each=8)
    stages = [short_stage("head"), short_stage("all", 2, schedule="cosine")]
    settings = {"stages": stages, "validation": 0.25, "ema": 0.5}
    here = train(short_config(tmp_path, output=tmp_path / "here", devices=2, **settings))

    write_config(short_config(tmp_path, **settings), tmp_path / "config.yaml")
    command = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1"]
    command += ["--rdzv-backend=c10d", f"--rdzv-endpoint=localhost:{free_port()}", "-m", "carclf", "train"]
    command += [str(tmp_path / "config.yaml"), "devices=1", "nodes=2"]
    machines = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [machine.wait() for machine in machines] == [0, 0]

    there = tmp_path / "run"
    assert results(there) == results(here)
    ours, theirs = weights(there), weights(here)
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)

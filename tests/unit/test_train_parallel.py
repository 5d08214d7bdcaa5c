"""One training in several processes (gloo, on the CPU): the weights of one, also after it was stopped and went on."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from functools import cache

import psutil
import pytest
import torch
import torch.distributed as dist
from timm.layers import convert_sync_batchnorm
from torch import nn
from torch.distributed.nn.functional import all_reduce
from torch.nn.modules.batchnorm import _BatchNorm

from dqv2.runtime.resume import Resume
from dqv2.runtime.sentences import sentence
from dqv2.runtime.stop import Stopped, stop_signals
from dqv2.train import parallel
from dqv2.train.backgrounds import FreshTobias
from dqv2.train.fit import fit
from dqv2.train.models import Network, build_model
from dqv2.train.scoring import Presentations
from tests.conftest import ROOT
from tests.unit.trainings import CPU, easy_set, hyperparameters, model

LONGER = 1e-10  # the same after 80 steps
DOUBLE = 1e-12  # weights in float64 after 12 steps with batch normalisation: the order of sums


@pytest.fixture
def data():
    """26 images: batches of 8, and a last one of 2, of which the third of three processes gets none."""
    images, labels = easy_set()
    return images[:26], labels[:26]


class OfAllProcesses(nn.BatchNorm2d):
    """Takes the statistics of all processes' images, as torch's SyncBatchNorm does, which needs GPUs."""

    def forward(self, x):
        if not self.training or not dist.is_initialized():
            return super().forward(x)
        count, total = (all_sum(part) for part in (x.new_tensor(x.numel() / x.shape[1]), x.sum((0, 2, 3))))
        mean = total / count
        centred = x - mean[:, None, None]
        squares = all_sum((centred**2).sum((0, 2, 3)))
        for running, now in ((self.running_mean, mean), (self.running_var, squares / (count - 1))):
            running.lerp_(now.detach(), self.momentum)
        self.num_batches_tracked += 1
        scale = self.weight * torch.rsqrt(squares / count + self.eps)
        return centred * scale[:, None, None] + self.bias[:, None, None]


own_group = cache(dist.new_group)  # one in each process, so that sums are not taken for those of gradients


def all_sum(part):
    return all_reduce(part, group=own_group())


def synchronised():
    """The network in float64, with statistics over all processes."""
    network = model().double()
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = OfAllProcesses
    return network


def close(one, two, tolerance):
    for name, value in one.state_dict().items():
        torch.testing.assert_close(two.state_dict()[name], value, rtol=0, atol=tolerance)


@pytest.mark.parametrize(("crop", "devices"), [("pad", 3), ("resized", 2)])
def test_several_processes_end_in_the_weights_of_one(data, crop, devices):
    """Batch normalisation, Mixup and CutMix, fresh backgrounds, uneven parts, of which one of three holds no image."""
    masks = torch.zeros(26, 4, 4, dtype=torch.bool)
    masks[:, 1:3] = True
    options = {"seed": 1, "purpose": "t", "device": CPU, "fresh": FreshTobias(masks, 0.5)}
    alone, shared = synchronised(), synchronised()
    seen, seen_by_all = Presentations(26), Presentations(26)
    how = hyperparameters(epochs=3, mix="both")
    how = replace(how, augment=how.augment | {"crop": crop})
    history = fit(alone, *data, how, watch=seen, **options)
    together = fit(shared, *data, how, watch=seen_by_all, devices=devices, **options)
    assert together.losses == pytest.approx(history.losses, abs=DOUBLE)
    assert torch.equal(seen.correct, seen_by_all.correct)
    close(alone, shared, DOUBLE)


def test_a_signal_stops_all_at_one_step_and_any_number_goes_on(data, tmp_path):
    """Images that count unequally, too."""
    weights = torch.linspace(0, 2, 26)
    options = {"seed": 1, "purpose": "t", "device": CPU, "weights": weights}
    how = hyperparameters(epochs=None, iterations=80)
    alone, shared = synchronised(), synchronised()
    fit(alone, *data, how, **options)
    resume = Resume(tmp_path, {"a": 1})

    def stop_when_it_runs():
        while not resume.load():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    teller = threading.Thread(target=stop_when_it_runs, daemon=True)
    with stop_signals():
        teller.start()
        with pytest.raises(Stopped, match="SIGTERM"):
            fit(shared, *data, how, devices=2, resume=resume, checkpoint_seconds=0, **options)
    step = resume.load()["step"]
    assert 0 < step < 80
    again = model(seed=9).double()
    fit(again, *data, how, resume=resume, **options)
    close(alone, again, LONGER)


@pytest.mark.parametrize("name", ["resnet8", "test_byobnet", "efficientnet_b0"])
def test_batch_normalisation_for_gpus_keeps_every_name_and_weight(name):
    """What `Group.wrap` does on GPUs, of which only the conversion can be looked at here."""
    network = build_model(Network(name, 3, 32), seed=0, purpose="x")
    before, weights = dict(network.state_dict()), list(network.parameters())
    convert_sync_batchnorm(network)
    kinds = {type(module) for module in network.modules() if isinstance(module, _BatchNorm)}
    assert kinds
    assert all(issubclass(kind, nn.SyncBatchNorm) for kind in kinds)
    assert network.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert all(one is other for one, other in zip(network.parameters(), weights, strict=True))


class Fails(nn.Module):
    """Fails in the process that has the second half of a batch."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(3 * 16 * 16, 3)

    def forward(self, x):
        if int(os.environ.get("RANK", 0)):
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return self.last(x.flatten(1))


def test_what_one_process_raises_is_what_the_training_raises(data, tmp_path, monkeypatch):
    """And nothing of torchrun is left either."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with pytest.raises(
        RuntimeError, match=r"batches of 8 images of 16x16 on 2 devices: lower batch_size.*raise devices"
    ):
        fit(Fails(), *data, hyperparameters(), seed=0, purpose="t", device=CPU, devices=2)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_told_as_that_of_the_temporary_folder(data, tmp_path, monkeypatch):
    """It was told as that of the outputs."""

    def full(*_):
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 36416 vs 36312")

    monkeypatch.setattr(torch, "save", full)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(OSError, match="No space left") as error:
        fit(model(), *data, hyperparameters(), seed=0, purpose="t", device=CPU, devices=2)
    assert sentence(error.value, ["results/x"]) == f"the disk of {tmp_path} is full: make room, and run it again"
    assert not list(tmp_path.iterdir())


JOB = """
import sys
from pathlib import Path
from dqv2.runtime.resume import Resume
from dqv2.train.fit import fit
from tests.unit.trainings import CPU, easy_set, hyperparameters, model
how = {"seed": 1, "purpose": "t", "device": CPU, "devices": 2}
how |= {"resume": Resume(Path(sys.argv[1]), {}), "checkpoint_seconds": 0}
fit(model(), *easy_set(), hyperparameters(epochs=None, iterations=100_000), **how)
"""


@pytest.mark.parametrize("killed", ["while the processes start", "while they train"])
def test_killed_outright_it_leaves_no_process_behind(tmp_path, killed):
    """Or they would hold devices that the lease gives to the next job."""
    resume, temporary = tmp_path / "resume", tmp_path / "temporary"
    temporary.mkdir()
    environment = os.environ | {"TMPDIR": str(temporary)}
    job = subprocess.Popen([sys.executable, "-c", JOB, str(resume)], cwd=ROOT, env=environment)
    this = psutil.Process(job.pid)
    try:
        while not (started := this.children(recursive=True)) or (
            killed == "while they train" and not (resume / "checkpoint.pt").exists()
        ):
            assert job.poll() is None, "it failed"
            time.sleep(0.05)
        assert killed == "while the processes start" or len(started) == 3, "torchrun and two processes"
    finally:
        job.kill()
        job.wait()
    assert not psutil.wait_procs(started, timeout=60)[1]
    assert not list(temporary.glob("*dqv2-*")), "nor the images"


def test_the_images_of_one_that_was_killed_while_it_passed_them_on_are_removed_by_the_next(tmp_path, monkeypatch):
    """Before any other process looks after them."""
    job = JOB.replace("fit(model()", "import os, torch\ntorch.save = lambda *_: os._exit(9)\nfit(model()")
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    assert subprocess.run([sys.executable, "-c", job, "resume"], cwd=ROOT, env=environment).returncode == 9
    (left,) = tmp_path.iterdir()
    assert left.stat().st_mode & 0o777 == 0o700
    elsewhere = tmp_path / ".tmp-0a0a0a0a-1-0a0a0a0a0a0a-dqv2-training"  # of another machine, and it may be at work
    elsewhere.mkdir()
    os.utime(elsewhere, (1, 1))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with parallel.temporary_dir(parallel.PURPOSE) as own, parallel.temporary_dir(parallel.PURPOSE) as another:
        assert {*tmp_path.iterdir()} == {own, another, elsewhere}
    assert [*tmp_path.iterdir()] == [elsewhere]


def test_a_file_that_is_written_while_the_job_is_killed_does_not_keep_its_folder(tmp_path):
    """The other process's end is an error in this one, which writes it just as the folder is being removed."""
    code = """
import sys
from pathlib import Path
from dqv2.train import worker
folder, job = Path(sys.argv[1]), int(sys.argv[2])
def told(folder):
    (folder.parent / "ready").touch()
    while True:
        with worker._writing, worker.atomic_path(folder / "error-0.pickle") as temporary:
            temporary.write_bytes(b"")
worker._told = told
sys.exit(worker.main(folder, job))
"""
    (tmp_path / "folder").mkdir()
    job = subprocess.Popen(["sleep", "600"])
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "folder"), str(job.pid)], cwd=ROOT)
    while not (tmp_path / "ready").exists():
        assert process.poll() is None, "it failed"
        time.sleep(0.05)
    job.kill()
    job.wait()
    process.wait(60)
    assert not (tmp_path / "folder").exists()

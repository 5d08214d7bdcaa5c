"""The device lease, without a GPU: never two jobs on one slot, none idle while jobs wait, freed however a job dies."""

import errno
import itertools
import os
import re
import signal
import stat
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import datetime

import pytest

from dqv2.runtime import lease
from tests.conftest import ROOT

# A job as a script hands it over, with its own record of when it began: {log} {gpus} {jobs_per_gpu} {seconds}
JOB = """
import sys, time
from datetime import datetime
from dqv2.runtime.job import run_job
from dqv2.stages import stage
print("began", datetime.now().isoformat(), file=open(sys.argv[1] + ".began", "w"), flush=True)
stage("train").run = lambda job: time.sleep(float(sys.argv[4]))
stage("train").resumes = False
resources = {"gpu": int(sys.argv[2]), "jobs_per_gpu": int(sys.argv[3])}
request = {"stage": "train", "input": {}, "output": {}, "options": {}, "wildcards": {"name": sys.argv[1][-5:]}}
sys.exit(run_job(request | {"threads": 1, "resources": resources, "log": sys.argv[1], "config": {}}))
"""
TOOK = re.compile(r"took device (\S+) of [\d,]+(?:, slot (\d+))?: process (\d+), (\S+)")
GAVE = re.compile(r"gave back device .*: process (\d+), (\S+)")


def start(folder, number, *, gpus=1, shared=1, seconds=0.6, **env):
    log = folder / f"{number:03}.log"
    env = os.environ | {"PYTHONPATH": str(ROOT / "src"), "TMPDIR": str(folder), "CUDA_VISIBLE_DEVICES": "0,1,2,3"} | env
    command = [sys.executable, "-c", JOB, str(log), str(gpus), str(shared), str(seconds)]
    return log, subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)


def hear(line):
    raise TimeoutError(line)


def record(log):
    """(began, took, gave back, device, slot) of a job, from its own log."""
    text = log.read_text()
    took, gave = TOOK.search(text), GAVE.search(text)
    assert took[3] == gave[1], "one process"
    began = log.with_name(log.name + ".began").read_text().split()[1]
    return *(datetime.fromisoformat(t).timestamp() for t in (began, took[4], gave[2])), took[1], int(took[2] or 0)


def check_intervals(records, *, devices, slots=1, handover=1.0):
    """Never two on one slot; and where one is free for longer than a handover takes, nobody waits."""
    for device in devices:
        for slot in range(slots):
            held = sorted((took, gave) for _, took, gave, *place in records if place == [device, slot])
            assert held, f"device {device}, slot {slot} was never used"
            for (_, end), (begin, _) in itertools.pairwise(held):
                assert begin >= end, f"two jobs on device {device}, slot {slot}"
                waited = [t for began, t, *_ in records if began < end and t > end + handover]
                assert begin - end < handover or not waited, f"device {device} was idle while a job waited"


def test_twelve_and_more_jobs_share_four_devices(tmp_path):
    jobs = [start(tmp_path, number) for number in range(14)]
    texts = []
    for _, process in jobs:
        texts.append(process.communicate(timeout=60)[1])
        assert process.returncode == 0, texts[-1]
    records = [record(log) for log, _ in jobs]
    check_intervals(records, devices="0123")
    # They overlapped: otherwise the test shows nothing
    assert max(sum(took <= t < gave for _, took, gave, *_ in records) for _, t, *_ in records) == 4
    waits = [line for text in texts for line in text.splitlines() if "waits for a device" in line]
    assert any(re.search(r"train \S+ waits for a device: 0 is held by train \S+ \(process \d+\)", w) for w in waits)


def test_jobs_per_gpu_fills_every_device_before_it_shares_one(tmp_path):
    jobs = [start(tmp_path, n, shared=2, seconds=4, CUDA_VISIBLE_DEVICES="0,1") for n in range(4)]
    for _, process in jobs:
        process.communicate(timeout=60)
    records = sorted((record(log) for log, _ in jobs), key=lambda r: r[1])
    assert sorted((device, slot) for *_, device, slot in records) == [("0", 0), ("0", 1), ("1", 0), ("1", 1)]
    assert {slot for *_, slot in records[:2]} == {0}


def test_a_job_for_several_devices_is_not_overtaken(tmp_path):
    single = [start(tmp_path, n, seconds=1) for n in range(8)]
    while not any(log.exists() and "took" in log.read_text() for log, _ in single):
        time.sleep(0.05)
    log, process = start(tmp_path, 50, gpus=4, seconds=0.2)
    assert process.communicate(timeout=60)[0] is None
    assert process.returncode == 0
    for _, other in single:
        other.communicate(timeout=60)
    took = re.search(r"took device ([\d, ]+) of 0,1,2,3: process \d+, (\S+)", log.read_text())
    assert took[1] == "0, 1, 2, 3"
    begin = datetime.fromisoformat(took[2]).timestamp()
    end = datetime.fromisoformat(GAVE.search(log.read_text())[2]).timestamp()
    for other, _ in single:
        _, taken, gave, *_ = record(other)
        assert gave <= begin or taken >= end


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_job_frees_its_device_within_a_second(tmp_path, number):
    log, first = start(tmp_path, 0, seconds=60, CUDA_VISIBLE_DEVICES="5")
    while not (log.exists() and "took device 5" in log.read_text()):
        time.sleep(0.02)
    _, second = start(tmp_path, 1, seconds=0, CUDA_VISIBLE_DEVICES="5")
    assert "waits for a device: 5 is held by train 0.log" in second.stderr.readline()
    killed = time.time()
    first.send_signal(number)
    second.communicate(timeout=10)
    assert second.returncode == 0
    first.communicate(timeout=10)
    assert first.returncode == (-9 if number == signal.SIGKILL else 128 + number)
    _, took, *_ = record(tmp_path / "001.log")
    assert 0 < took - killed < 1


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Temporary storage of its own, no scheduler; returns a function that makes an nvidia-smi that lists GPUs."""
    monkeypatch.setattr(lease.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    def with_gpus(*lines):
        tool = tmp_path / "nvidia-smi"
        tool.write_text("#!/bin/sh\n" + "\n".join(f"echo '{line}'" for line in lines))
        tool.chmod(tool.stat().st_mode | stat.S_IXUSR)

    return with_gpus


@contextmanager
def another_job(visible=None):
    """The environment that a second job starts with."""
    before = os.environ.pop("CUDA_VISIBLE_DEVICES")
    if visible:
        os.environ["CUDA_VISIBLE_DEVICES"] = visible
    yield
    os.environ["CUDA_VISIBLE_DEVICES"] = before


def test_what_the_driver_lists_is_the_pool(machine):
    assert lease.pool() == []
    machine("GPU-aa, NVIDIA V100", "GPU-bb, NVIDIA V100")
    with lease.take(1) as one, another_job(), lease.take(1) as two:
        assert [one.devices[0].id, two.devices[0].id] == ["GPU-aa", "GPU-bb"]
        assert str(one) == "device GPU-aa (NVIDIA V100) of GPU-aa,GPU-bb"
        assert os.environ["CUDA_VISIBLE_DEVICES"] == two.devices[0].id
        assert os.environ["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"


def test_two_names_of_one_device_are_one(machine, monkeypatch):
    machine("GPU-aa, NVIDIA V100", "GPU-bb, NVIDIA V100")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,GPU-bb,GPU-b")
    assert [device.id for device in lease.pool()] == ["1"]

    monkeypatch.setattr(lease, "say", hear)
    with lease.take(1):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"
        held = pytest.raises(TimeoutError, match=r"^a job waits for a device: GPU-bb is held by a job \(process")
        with another_job("GPU-bb"), held, lease.take(1):
            pass


def test_a_job_that_has_one_of_two_devices_says_who_holds_the_other(machine, monkeypatch):
    monkeypatch.setattr(lease, "say", hear)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,6")
    with lease.take(1, job="first"), another_job("5,6"):
        held = pytest.raises(TimeoutError, match=r"^second waits for a device: 5 is held by first \(process \d+\)$")
        with held, lease.take(2, job="second"):
            pass


@pytest.mark.parametrize(("value", "ids"), [("", []), ("-1", []), ("0,-1,1", ["0"]), (" 3 , 1", ["3", "1"])])
def test_cuda_visible_devices_is_read_as_cuda_reads_it(machine, monkeypatch, value, ids):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    assert [device.id for device in lease.pool()] == ids


def test_without_a_gpu_and_without_a_wish(machine, monkeypatch):
    with lease.take(1) as held:
        assert held.devices == ()
    machine("GPU-aa, NVIDIA V100")
    with lease.take(0) as held:
        assert held.devices == ()
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "", "a job that runs no model sees none"
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
    with pytest.raises(ValueError, match="2 devices are asked for, but there are 1"), lease.take(2):
        pass


def test_a_driver_that_does_not_answer_is_said_once_it_is_asked(machine, tmp_path, monkeypatch, caplog):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'Failed to initialize NVML: Driver/library version mismatch'\nexit 18\n")
    tool.chmod(0o755)
    monkeypatch.setattr(lease.logger, "propagate", True)
    with lease.take(1) as held:
        assert held.devices == ()

    def own():  # a record twice where the logger has the handler beside the root
        return list({id(each): each.getMessage() for each in caplog.records if each.name == lease.logger.name}.values())

    (said,) = own()
    assert said.startswith("nvidia-smi is here and lists no GPU (Failed to initialize NVML: Driver/library version mis")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with lease.take(1), lease.take(0):
        assert own() == [said], "who hides all devices is told nothing"


def test_slurms_choice_is_taken_as_it_is(machine, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    with lease.take(1) as one, lease.take(1) as two:
        assert one == two, "whoever shares a device by SLURM's will shares it"
        assert str(one) == "device 1 given by SLURM"
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"


def test_an_allocation_of_many_devices_is_shared_out(machine, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with lease.take(1) as one, another_job("0,1"), lease.take(1) as two:
        assert [one.devices[0].id, two.devices[0].id] == ["0", "1"]


def test_allocations_that_see_all_devices_of_a_node_take_different_ones(machine, monkeypatch):
    """So they do where SLURM does not manage the GPUs."""
    machine("GPU-aa, NVIDIA V100", "GPU-bb, NVIDIA V100")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    with lease.take(1) as one, another_job():
        monkeypatch.setenv("SLURM_JOB_ID", "8")
        with lease.take(1) as two:
            assert [one.devices[0].id, two.devices[0].id] == ["GPU-aa", "GPU-bb"]


def test_allocations_that_number_their_own_devices_do_not_wait_for_each_other(machine, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    with lease.take(1) as one, another_job("0,1"):
        monkeypatch.setenv("SLURM_JOB_ID", "8")
        with lease.take(1) as two:
            assert [one.devices[0].id, two.devices[0].id] == ["0", "0"]


def test_a_full_disk_is_told_as_that_of_the_locks(machine, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    with monkeypatch.context() as patch:
        patch.setattr(lease, "write_json", full)
        with pytest.raises(OSError, match=str(lease.folder())), lease.take(1):
            pass
    with lease.take(1) as held:
        assert held.devices, "it was given back"


def test_a_strangers_folder_is_refused(machine, tmp_path, monkeypatch):
    (tmp_path / f"dqv2-devices-{os.getuid()}").symlink_to(tmp_path)
    with pytest.raises(PermissionError, match="set TMPDIR"):
        lease.folder()

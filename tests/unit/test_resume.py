"""What a training has reached is kept; a signal leaves nothing half-written."""

import os
import shutil
import signal
import time
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from dqv2.runtime.files import atomic_path, write_json
from dqv2.runtime.resume import Resume
from dqv2.runtime.stop import Stopped, deferred, stop_signals
from tests.damage import BYTES


def test_outside_a_training_a_signal_stops_at_once_and_leaves_nothing_half_written(tmp_path):
    target = tmp_path / "x"

    def write():
        with stop_signals(), atomic_path(target) as temporary:
            temporary.write_text("half")
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)

    with pytest.raises(Stopped):
        write()
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_second_signal_cuts_off_nothing_that_follows():
    """Wherever the first one was raised: at once, or where `deferred` let it be."""
    for first_within in (True, False):
        ended = []
        with stop_signals():
            try:
                with deferred() if first_within else nullcontext():
                    os.kill(os.getpid(), signal.SIGTERM)
                    time.sleep(0.1)
            except Stopped as stopped:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.1)
                ended.append(stopped.signum)
        assert ended == [signal.SIGTERM]


def test_a_checkpoint_of_another_training_is_ignored(tmp_path):
    Resume(tmp_path, {"rate": 0.1}).save({"step": 3})
    assert Resume(tmp_path, {"rate": 0.1}).load() == {"step": 3}
    assert Resume(tmp_path, {"rate": 0.2}).load() is None


def test_a_finished_result_is_put_back_and_survives_deletion(tmp_path):
    output = tmp_path / "out/metrics.json"
    output.parent.mkdir()
    output.write_text("{}")
    resume = Resume(tmp_path / "resume", {"seed": 0})
    resume.save({"step": 1})
    assert not resume.restore(output)
    resume.finish(output)
    assert resume.load() is None, "the checkpoint is no longer needed"
    output.unlink()
    assert not Resume(tmp_path / "resume", {"seed": 1}).restore(output)
    assert resume.restore(output)
    assert output.read_text() == "{}"


@pytest.mark.parametrize("how", BYTES)
def test_a_damaged_checkpoint_is_left_aside_with_a_warning(tmp_path, caplog, how):
    resume = Resume(tmp_path, {"rate": 0.1})
    resume.save({"weights": torch.arange(1000.0)})
    BYTES[how](tmp_path / "checkpoint.pt")
    assert resume.load() is None
    assert f"{tmp_path}/checkpoint.pt has changed since it was saved: the training starts over" in caplog.text
    resume.save({"step": 4})
    assert resume.load() == {"step": 4}


@pytest.mark.parametrize("how", BYTES)
@pytest.mark.parametrize("name", ["done.json", "model.pt"])
def test_a_damaged_result_is_not_put_back_and_is_kept_anew(tmp_path, caplog, name, how):
    output = tmp_path / "out/model.pt"
    output.parent.mkdir()

    def finish():
        output.write_bytes(bytes(range(256)) * 9)
        resume.finish(output)

    resume = Resume(tmp_path / "resume", {"seed": 0})
    finish()
    BYTES[how](tmp_path / "resume" / name)
    output.unlink()
    assert not resume.restore(output)
    assert f"resume/{name} has changed since it was saved" in caplog.text
    assert not output.exists()
    finish()
    assert resume.restore(output)


@pytest.mark.parametrize("text", ["[" * 10**5, "[]", "null", '"x"', '{"fingerprint": 1}'])
def test_a_note_of_another_kind_is_left_aside(tmp_path, caplog, text):
    output = tmp_path / "out/model.pt"
    output.parent.mkdir()
    output.write_bytes(b"weights")
    resume = Resume(tmp_path / "resume", {"seed": 0})
    resume.finish(output)
    (tmp_path / "resume/done.json").write_text(text)
    assert not resume.restore(output)


@pytest.mark.parametrize("name", ["done.json", "model.pt", "checkpoint.pt"])
def test_a_pipe_in_the_place_of_kept_state_blocks_nobody(tmp_path, name):
    output = tmp_path / "out/model.pt"
    output.parent.mkdir()
    output.write_bytes(b"weights")
    resume = Resume(tmp_path / "resume", {"seed": 0})
    resume.finish(output)
    (tmp_path / "resume" / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / "resume" / name)
    assert resume.restore(output) == (name == "checkpoint.pt")
    assert resume.load() is None
    resume.finish(output)
    assert resume.restore(output)


def test_what_a_copied_run_kept_is_not_put_back_under_another_name(tmp_path, monkeypatch):
    """Its record mentions the files of the first run; put back, it would be refused for ever."""
    monkeypatch.chdir(tmp_path)
    model, beside = Path("results/one/model.pt"), Path("results/one/record.json")
    model.parent.mkdir(parents=True)
    model.write_bytes(b"weights")
    write_json(beside, {"outputs": {str(model): "sum"}})
    Resume(Path("results/one/resume"), {"seed": 0}).finish(model, beside)
    shutil.copytree("results/one", "results/two")
    files = [Path("results/two", each.name) for each in (model, beside)]
    assert not Resume(Path("results/two/resume"), {"seed": 0}).restore(*files)
    assert Resume(Path("results/one/resume"), {"seed": 0}).restore(model, beside)


@pytest.mark.parametrize("place", ["resume", "resume/a", "resume/a/done.json", "resume/a/checkpoint.pt"])
def test_what_is_in_the_way_of_kept_state_costs_no_training(tmp_path, caplog, place):
    output, folder = tmp_path / "model.pt", tmp_path / "resume/a"
    output.write_text("weights")
    folder.mkdir(parents=True)
    if folder / Path(place).name == tmp_path / place:
        (tmp_path / place).mkdir()
    else:
        shutil.rmtree(tmp_path / place)
        (tmp_path / place).write_text("x")
    resume = Resume(folder, {"seed": 0})
    assert not resume.restore(output)
    assert f"{tmp_path / place} is in the way of what trainings keep: it is removed" in caplog.text
    resume.save({"step": 1})
    resume.finish(output)
    assert resume.restore(output)

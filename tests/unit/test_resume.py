"""What a training has reached is kept; a signal leaves nothing half-written."""

import os
import signal
import time

import pytest

from dqv2.runtime.files import atomic_path
from dqv2.runtime.resume import Resume
from dqv2.runtime.stop import Stopped, stop_signals


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

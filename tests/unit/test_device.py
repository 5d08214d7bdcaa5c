"""The device of a job where a GPU is listed and cannot be used: it is said on the terminal, or the job stops."""

import pytest
import torch

from dqv2.runtime import device
from dqv2.runtime.device import devices_at_hand, use_device

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="here a GPU can be used")


@pytest.fixture
def terminal(monkeypatch, caplog):
    """What use_device says on the terminal (warnings), with its globals as before afterwards."""
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    monkeypatch.setattr(device, "_keep_freed_memory", lambda: None)
    monkeypatch.setattr(device.logger, "propagate", True)
    yield lambda: [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    torch.set_num_threads(before[0])
    torch.use_deterministic_algorithms(before[1])


def test_a_gpu_that_was_taken_and_cannot_be_used_is_said_on_the_terminal(terminal, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-1050")
    assert use_device(1).type == "cpu"
    (said,) = terminal()
    assert said.startswith("GPU GPU-1050 is there, but PyTorch cannot use it (")
    assert "): runs on the CPU with 1 threads, PyTorch" in said
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)  # as the driver counts them
    assert devices_at_hand(4) == 1


@pytest.mark.parametrize("visible", [None, "", "-1"])
def test_where_none_was_taken_the_terminal_is_silent(terminal, monkeypatch, visible):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert use_device(1).type == "cpu"
    assert terminal() == []


def test_a_gpu_that_pytorch_is_not_built_for_stops_the_job(terminal, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(RuntimeError, match=r"GPU 0 is there, but PyTorch .* cannot compute on it .*set CUDA_VIS"):
        use_device(1)

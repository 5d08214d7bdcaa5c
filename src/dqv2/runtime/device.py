"""The device of a job."""

import ctypes
import os

# cuBLAS is deterministic only with this set before CUDA starts
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

import torch
from torch import Tensor

from dqv2.runtime.lease import shown
from dqv2.runtime.logging import logger
from dqv2.runtime.memory import free_memory
from dqv2.runtime.record import cpu_flags

IMAGES_SHARE = 0.5  # share of free memory for images; the rest is for the network and its activations


def use_device(threads: int, *, index: int = 0) -> torch.device:
    """Set up and return a CUDA device (number `index` of those visible to the job), or the CPU with `threads` threads.

    Algorithms are deterministic: the same device with the same number of threads gives the same weights, bit for bit.
    On the CPU the process keeps freed memory for itself, as a training allocates the same again in its next step.
    Raises RuntimeError where there is a GPU that this PyTorch cannot compute on.
    """
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    # Otherwise, as a debugging aid, a separate kernel fills every new tensor with NaN
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.backends.cudnn.benchmark = False
    # What "float32" means on a GPU: PyTorch's defaults, made explicit
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = True, False
    device = torch.device("cuda", index) if torch.cuda.is_available() else torch.device("cpu")
    if device.type == "cuda":
        if index:
            torch.cuda.set_device(device)
        fault = _fault(device)
        if "out of memory" in fault:
            raise RuntimeError(fault)  # other programs have it; `sentence` says what to do
        if fault:
            raise RuntimeError(
                f"GPU {shown()} is there, but PyTorch {torch.__version__} cannot compute on it ({fault}): install a "
                "PyTorch that is built for it and its driver, or set CUDA_VISIBLE_DEVICES= to run on the CPU"
            )
        logger.info("runs on %s, PyTorch %s", describe(device), torch.__version__)
    else:
        _keep_freed_memory()
        how = f"runs on the CPU with {threads} threads, PyTorch {torch.__version__}"
        if shown():  # a GPU was taken for the job
            logger.warning("GPU %s is there, but PyTorch cannot use it (%s): %s", shown(), _fault("cuda"), how)
        else:
            logger.info("no GPU available: %s", how)
    return device


def fast_precision(device: torch.device) -> str:
    """The fastest precision on the device: "bfloat16" with hardware support, else "float32", as emulation is slower.

    Hardware support: GPUs of compute capability 8.0 or higher, and CPUs with AVX512-BF16, AMX or Arm's BF16, as Linux
    reports them.
    """
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    return "bfloat16" if {"avx512_bf16", "amx_bf16", "bf16"} & cpu_flags() else "float32"


def _fault(device: torch.device | str) -> str:
    """PyTorch's error when a GPU adds two numbers; empty where that works."""
    try:
        torch.ones(2, device=device).sum().item()
    except (RuntimeError, AssertionError) as error:
        return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
    return ""


def _keep_freed_memory() -> None:
    """Tell malloc, if it is glibc's, not to return memory to the system.

    By default large tensors get their own pages, which the system zeroes and maps again at every step: 6,000 page
    faults per step of ResNet-18, a tenth of its time (docs/performance.md).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is None:
        return
    trim_threshold, mmap_threshold, most = -1, -3, 2**31 - 1  # of malloc.h
    # Older versions (Debian 11, RHEL 8) refuse more than 32 MiB
    if mallopt(mmap_threshold, most) or mallopt(mmap_threshold, 32 * 2**20):
        mallopt(trim_threshold, most)


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on `device`; a copy to a GPU is asynchronous, through pinned memory.

    A copy from pageable memory would make the host wait until the GPU has finished all earlier work.
    """
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def fits_memory(count: int, device: torch.device | None = None) -> bool:
    """Whether `count` bytes of images fit into the free memory of a device (by default, of this process), leaving room
    for the network."""
    on_gpu = device is not None and device.type == "cuda"
    free = torch.cuda.mem_get_info(device)[0] if on_gpu else free_memory()
    return count <= IMAGES_SHARE * free


def devices_at_hand(asked: int) -> int:
    """The number of devices for a training that asked for `asked`: at most those visible to the job; one on a CPU."""
    # The driver counts devices that cannot be used
    return max(1, min(asked, torch.cuda.device_count())) if torch.cuda.is_available() else 1


def describe(device: torch.device) -> str:
    """The device's name for captions: "CPU" or the GPU's product name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


def peak_memory(device: torch.device) -> float | None:
    """The peak GPU memory reserved by this process, in MB; None on a CPU."""
    return round(torch.cuda.max_memory_reserved(device) / 1e6, 1) if device.type == "cuda" else None

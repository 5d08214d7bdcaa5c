"""What `torch.compile` needs besides PyTorch: a compiler, and Python's header files. Imports nothing heavy."""

import os
import shutil
import sys
import sysconfig
from pathlib import Path


def why_not_compiled(device: str) -> str | None:
    """Why torch.compile cannot compile for a device, "cpu" or "cuda", in a sentence without a full stop; None where
    nothing is missing.

    It looks where PyTorch does: for a CPU, at the environment variable CXX, else for g++ (clang++ on macOS); for a GPU,
    as Triton does, at CC, else for gcc or clang.
    """
    if device == "cpu":
        kind, variable, names = "C++", "CXX", ["clang++" if sys.platform == "darwin" else "g++"]
    else:
        kind, variable, names = "C", "CC", ["gcc", "clang"]
    if asked := os.environ.get(variable):
        names = [asked]
    if not any(map(shutil.which, names)):
        looked = f"{asked}, which {variable} names" if asked else " or ".join(names)
        return f"compile: true needs a {kind} compiler ({looked}), and there is none: install it, or leave compile out"
    headers = sysconfig.get_path("include")
    if not Path(headers, "Python.h").is_file():
        package = f"python{sys.version_info.major}.{sys.version_info.minor}-dev"
        return (
            f"compile: true needs Python's header files, and {headers} has no Python.h: install them ({package} on "
            "Debian and Ubuntu), or leave compile out"
        )
    return None

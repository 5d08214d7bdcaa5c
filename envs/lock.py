"""Resolve envs/*.in into exact pins (*.txt) and the conda file of `snakemake --sdm conda`. Run by `make lock`."""

import subprocess
import sys
from pathlib import Path

ENVS = Path(__file__).parent


def compile_pins(name: str, *options: str) -> None:
    """NAME.in -> NAME.txt; without the address of any package index."""
    command = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "compile",
        *options,
        "--custom-compile-command",
        "make lock",
        "--quiet",
        "--universal",
        "--python-version=3.11",
        "--no-annotate",
    ]
    subprocess.run([*command, f"envs/{name}.in", "-o", f"envs/{name}.txt"], check=True, cwd=ENVS.parent)


def conda_file(pins: str) -> str:
    """The conda environment with the same pins, installed by pip: conda's own torch is another build."""
    names = [line for line in pins.splitlines() if line and not line.startswith("#")]
    head = "# Made by `make lock` from requirements.txt, for `snakemake --sdm conda`.\n"
    head += (
        "name: dqv2\nchannels:\n  - conda-forge\n  - nodefaults\ndependencies:\n  - python=3.12\n  - pip\n  - pip:\n"
    )
    return head + "".join(f"      - {name}\n" for name in names)


if __name__ == "__main__":
    compile_pins("requirements-dev")
    for requirements in ("requirements", "requirements-figures", "requirements-slurm"):  # what the tests ran with
        compile_pins(requirements, "--constraint=envs/requirements-dev.txt")
    (ENVS / "dqv2.yaml").write_text(
        conda_file((ENVS / "requirements.txt").read_text(encoding="utf-8")), encoding="utf-8"
    )

"""A compiler that torch.compile would miss is named before it does."""

import sys

import pytest

from dqv2.runtime import compiler
from dqv2.runtime.compiler import why_not_compiled


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """A machine without any compiler: the folder of its programs."""
    for variable in ("CC", "CXX"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(compiler.sysconfig, "get_path", lambda name: str(tmp_path))
    (tmp_path / "Python.h").touch()
    return tmp_path


def program(path):
    path.write_text("#!/bin/sh\n", encoding="utf-8")
    path.chmod(0o755)


@pytest.mark.skipif(sys.platform != "linux", reason="macOS has other names")
@pytest.mark.parametrize(
    ("device", "names", "asked"),
    [("cpu", ["g++"], "a C++ compiler (g++)"), ("cuda", ["gcc", "clang"], "a C compiler (gcc or clang)")],
)
def test_the_compiler_of_the_device_is_asked_for(bare, device, names, asked):
    for name in names:
        assert why_not_compiled(device).startswith(f"compile: true needs {asked}, and there is none")
        program(bare / name)
        assert why_not_compiled(device) is None
        (bare / name).unlink()


def test_a_variable_names_another(bare, monkeypatch):
    monkeypatch.setenv("CXX", "icpx")
    assert "icpx, which CXX names" in why_not_compiled("cpu")
    program(bare / "icpx")
    assert why_not_compiled("cpu") is None


def test_a_python_without_headers(bare):
    (bare / "Python.h").unlink()
    program(bare / "gcc")
    assert "no Python.h: install them (python3." in why_not_compiled("cuda")

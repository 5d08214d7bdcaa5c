"""Files from elsewhere run nothing and write nowhere else: malicious weights and archives, as docs/security.md says."""

import builtins
import bz2
import codecs
import functools
import gzip
import importlib
import io
import lzma
import operator
import os
import pickle
import runpy
import shutil
import subprocess
import tarfile
import warnings
import zipfile
from pathlib import Path

import pytest
import torch

from dqv2.config import ConfigError, read_file
from dqv2.data.errors import DataError
from dqv2.data.extract import extract
from dqv2.data.image import decode
from dqv2.train.models import load_model
from dqv2.weights import WeightsError, read_weights

# -- weights: pickles that would run something ------------------------------------------------------------------------


class Calls:
    """Pickled, it is a call."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


class Builds(Calls):
    """Pickled, it is an object that is given a state."""

    def __reduce__(self):
        return (*self.call, {"state": 1})


def touch(name):
    """The command of a shell, and the source of Python, that leave a trace."""
    return f"touch {name}", f"open({name!r}, 'w').close()"


def pickles(name):
    """What -> an object whose unpickling would make the file `name`."""
    shell, source = touch(name)
    inner = pickle.dumps(Calls(os.system, shell))
    return {
        "os.system": Calls(os.system, shell),
        "os.popen": Calls(os.popen, shell),
        "subprocess": Calls(subprocess.check_call, ["touch", name]),
        "eval": Calls(eval, source),
        "exec": Calls(exec, source),
        "open": Calls(open, name, "w"),
        "an import": Calls(importlib.import_module, "antigravity"),
        "__import__": Calls(builtins.__import__, "this"),
        "getattr": Calls(getattr, 1, "real"),
        "a method": Calls(operator.methodcaller("touch"), Path(name)),
        "a partial function": Calls(functools.partial(os.system, shell)),
        "a reduction": Calls(functools.reduce, os.system, [shell]),
        "runpy": Calls(runpy.run_path, name),
        "decoded": Calls(codecs.decode, b"x", "rot13"),
        "a pickle in a pickle": Calls(pickle.loads, inner),
        "torch.load without its safety": Calls(functools.partial(torch.load, weights_only=False), name),
        "a class of one's own": Builds(Calls, os.system, shell),
        "rmtree": Calls(shutil.rmtree, str(Path(name).parent)),
        "beside good weights": {"weight": torch.zeros(2), "extra": Calls(os.system, shell)},
        "as the name of a weight": {Calls(os.system, shell): torch.zeros(2)},
        "in training's arguments": {"state_dict": {"a": torch.zeros(1)}, "args": Calls(eval, source)},
        "a whole network": torch.nn.Linear(2, 2),
        "a script": torch.nn.Sequential(torch.nn.Linear(2, 2)),
    }


HOW = {
    "torch's archive": lambda object_, path: torch.save(object_, path),
    "torch's old format": lambda object_, path: torch.save(object_, path, _use_new_zipfile_serialization=False),
    "a bare pickle": lambda object_, path: path.write_bytes(pickle.dumps(object_, protocol=2)),
    "a newer pickle": lambda object_, path: path.write_bytes(pickle.dumps(object_, protocol=4)),
}


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("what", pickles("x"))
def test_no_pickle_runs_anything(tmp_path, monkeypatch, what, how):
    monkeypatch.chdir(tmp_path)
    trace, path = tmp_path / "trace", tmp_path / "w.pth"
    HOW[how](pickles(str(trace))[what], path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for read in (read_weights, lambda path: load_model(path, torch.device("cpu"))):
            with pytest.raises(WeightsError) as caught:
                read(path)
            assert str(caught.value).startswith(f"{path} ")
            assert "weights_only" not in str(caught.value)
    assert {each.name for each in tmp_path.iterdir()} == {"w.pth"}, "something ran"


def test_weights_and_what_checkpoints_hold_beside_them_are_read(tmp_path):
    import argparse

    kept = {"state_dict": {"a": torch.ones(2)}, "args": argparse.Namespace(lr=0.1), "epoch": 3}
    torch.save(kept, tmp_path / "w.pth")
    assert read_weights(tmp_path / "w.pth")["epoch"] == 3


# -- archives ---------------------------------------------------------------------------------------------------------


def tar(*members, mode="w", **settings):
    """An archive of (name, content or keys of TarInfo); a set of its own comes first."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode, **settings) as archive:
        for name, what in (("set/a.txt", b"good"), *members):
            info = tarfile.TarInfo(name)
            data = what if isinstance(what, bytes) else b""
            info.size = len(data)
            for key, value in what.items() if isinstance(what, dict) else ():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(data) if data else None)
    return file.getvalue()


def zipped(*members, **settings):
    """The same as zip: (name, content, keys of ZipInfo)."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", **settings) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that come twice
        for name, content, *keys in (("set/a.txt", b"good"), *members):
            info = zipfile.ZipInfo("placeholder")
            info.filename = name
            for key, value in (keys[0] if keys else {}).items():
                setattr(info, key, value)
            archive.writestr(info, content)
    return file.getvalue()


def link(to, kind=tarfile.SYMTYPE):
    return {"type": kind, "linkname": to}


def patched(data, old, new):
    assert data.count(old)
    return data.replace(old, new)


HARD, BAD, LINK = tarfile.LNKTYPE, b"bad", 0o120777 << 16
REFUSED = {
    "tar: one up": tar(("../evil", BAD)),
    "tar: out of the set": tar(("set/../../evil", BAD)),
    "tar: far up": tar(("set/../../../../../../../../evil", BAD)),
    "tar: up in the middle of long names": tar(("set/" + "x" * 120 + "/../../../evil", BAD)),
    "tar: a link up": tar(("set/l", link("../../outside"))),
    "tar: a link to the root": tar(("set/l", link("/"))),
    "tar: a link and a file through it": tar(("set/l", link("../..")), ("set/l/evil", BAD)),
    "tar: a chain of links": tar(("set/d", link(".")), ("set/d/l", link("../../.."))),
    "tar: a hard link out": tar(("set/h", link("../../outside/secret", HARD))),
    "tar: a hard link to the root's": tar(("set/h", link("/etc/passwd", HARD))),
    "tar: a hard link to a link out": tar(("set/l", link("../../outside/secret")), ("set/h", link("set/l", HARD))),
    "tar: a device": tar(("set/null", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3})),
    "tar: a disk": tar(("set/disk", {"type": tarfile.BLKTYPE, "devmajor": 8, "devminor": 0})),
    "tar: a pipe": tar(("set/pipe", {"type": tarfile.FIFOTYPE})),
    "tar: a file that is a folder too": tar(("set/b", BAD), ("set/b/c", BAD)),
    "zip: one up": zipped(("../evil", BAD)),
    "zip: out of the set": zipped(("set/../../evil", BAD)),
    "zip: from the root": zipped(("/evil", BAD)),
    "zip: another system's separators": zipped(("set\\..\\..\\evil", BAD)),
    "zip: a drive": zipped(("C:/evil", BAD)),
    "zip: a share": zipped(("\\\\host\\share\\evil", BAD)),
    "zip: a link": zipped(("set/l", "../../outside", {"external_attr": LINK})),
    "zip: a link and a file through it": zipped(("set/l", "../..", {"external_attr": LINK}), ("set/l/e", BAD)),
    "zip: a device": zipped(("set/null", b"", {"external_attr": 0o020666 << 16})),
    "zip: a pipe": zipped(("set/pipe", b"", {"external_attr": 0o010666 << 16})),
    "zip: a file that is a folder too": zipped(("set/b", BAD), ("set/b/c", BAD)),
    "zip: no name": zipped(("", BAD)),
    "zip: locked": patched(zipped(), b"\x00\x00\x00\x00\x00\x00\x21", b"\x00\x00\x01\x00\x00\x00\x21"),
}
DAMAGED = {
    "tar: cut off": tar(("set/b", b"x" * 4000))[:2000],
    "tar.gz: cut off": tar(("set/b", os.urandom(4000)), mode="w:gz")[:2000],
    "tar.bz2: cut off": tar(("set/b", os.urandom(4000)), mode="w:bz2")[:2000],
    "tar.xz: cut off": tar(("set/b", os.urandom(4000)), mode="w:xz")[:2000],
    "tar.gz: another's checksum": tar(mode="w:gz")[:-8] + bytes(8),
    "gz of no tar": gzip.compress(b"hello world" * 100),
    "bz2 of no tar": bz2.compress(b"hello world" * 100),
    "xz of no tar": lzma.compress(b"hello world" * 100),
    "no archive": b"<!DOCTYPE html><html></html>",
    "nothing": b"",
    "tar: a size beyond all": patched(tar(), b"00000000004\x00", b"77777777777\x00"),
    "zip: another's content": patched(zipped(), b"good", b"evil"),
    "zip: cut off": zipped(("set/b", os.urandom(4000)))[:-200],
}


@pytest.fixture
def around(tmp_path):
    """A folder for sets, and a file beside it that nobody may touch."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_text("secret", encoding="utf-8")
    (tmp_path / "data").mkdir()
    return tmp_path


def all_below(folder):
    """Name -> what it is, and its content."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        if path.is_file() and not path.is_symlink()
        else path.lstat()[:2]
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize("what", REFUSED | DAMAGED)
def test_an_archive_that_reaches_out_or_is_none_leaves_nothing(around, what):
    (around / "a").write_bytes((REFUSED | DAMAGED)[what])
    before = all_below(around)
    said = "is refused, nothing of it was kept" if what in REFUSED else r"is damaged \("
    with pytest.raises(DataError, match=f"{around / 'a'} {said}"):
        extract(around / "a", around / "data", "set")
    assert all_below(around) == before


KEPT = {
    "tar: names from the root": tar(("/set/b", BAD)),
    "tar: a link within": tar(("set/l", link("a.txt"))),
    "tar: rights of another's": tar(("set/run", {"mode": 0o6777, "uid": 0})),
    "tar: names that come twice": tar(("set/a.txt", b"evil")),
    "tar: sparse words in names": tar(("set/ $(touch evil) ; `x`", BAD)),
    "zip: names that come twice": zipped(("set/a.txt", b"evil")),
    "zip: rights of another's": zipped(("set/run", BAD, {"external_attr": 0o106777 << 16})),
    "zip: a file beside the set": zipped(("evil", BAD)),
}


@pytest.mark.parametrize("what", KEPT)
def test_what_is_only_odd_stays_within_the_set(around, what):
    (around / "a").write_bytes(KEPT[what])
    before = set(all_below(around))
    extract(around / "a", around / "data", "set")
    found = set(all_below(around)) - before
    assert found
    assert all(name.startswith("data/set") for name in found)
    for path in (around / "data").rglob("*"):
        assert path.resolve().is_relative_to(around / "data")
        assert not path.lstat().st_mode & 0o6000, "set-uid"


def test_a_python_that_cannot_unpack_safely_unpacks_nothing(around, monkeypatch):
    """Debian 12 has 3.11.2, without the filters of tarfile."""
    for name in ("data_filter", "FilterError"):
        monkeypatch.delattr(tarfile, name)
    (around / "a").write_bytes(KEPT["tar: a link within"])
    with pytest.raises(DataError, match=r"take Python 3\.11\.4 or newer"):
        extract(around / "a", around / "data", "set")
    assert not list((around / "data").iterdir())


def test_a_bomb_is_stopped_before_it_is_unpacked(around, monkeypatch):
    bomb = zipped(("set/zeros", bytes(10**7)), compression=zipfile.ZIP_DEFLATED)
    (around / "a").write_bytes(bomb)
    usage = shutil.disk_usage(around)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10**6))
    with pytest.raises(DataError, match=r"unpacks to 0\.01 GB, and"):
        extract(around / "a", around / "data", "set")


# -- configuration files ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tag", ["apply:os.system [touch trace]", "name:os.system", "object:os.system {}", "module:os"])
def test_a_configuration_file_makes_no_objects(tmp_path, monkeypatch, tag):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.yaml").write_text(f"run: !!python/object/{tag}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"a\.yaml is not valid YAML"):
        read_file("a.yaml")
    assert not (tmp_path / "trace").exists()


# -- images -----------------------------------------------------------------------------------------------------------


def test_an_image_runs_no_program_whatever_it_holds(tmp_path, monkeypatch):
    """Pillow goes by the content, and would hand this cat.jpg to Ghostscript."""
    program = tmp_path / "bin/gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/trace\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"
    assert decode(eps, 8) == "not an image, or damaged"
    assert not (tmp_path / "trace").exists()

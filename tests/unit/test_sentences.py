"""What a person reads when something goes wrong: what, where, what to do; no traceback, none of PyTorch's advice."""

import csv
import errno
import io
import logging
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dqv2.runtime import script
from dqv2.runtime.files import csv_writer
from dqv2.runtime.logging import log_to
from dqv2.runtime.sentences import require_writable, sentence
from dqv2.select.coreset import read_pool, write_pool
from dqv2.train.models import load_model
from dqv2.weights import WeightsError, read_weights
from tests.conftest import ROOT

REQUEST = {"stage": "pack", "log": "logs/pack.log", "threads": 1}
REQUEST |= {key: {} for key in ("input", "output", "options", "wildcards", "resources", "config")}
DAMAGE = [b"", b"<!DOCTYPE html>", bytes(1000), b"hello world", b"\x80", b"PK\x03\x04" + bytes(60)]
DEVICE = torch.device("cpu")
FULL = "/dev/full"  # every write says that no space is left


@pytest.mark.parametrize(
    ("error", "part"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "the disk of {folder} is full (.*): make room"),
        (OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)), "the disk of {folder} is full"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a/b.npy"), "the disk of a/b.npy is full: make room"),
        (OSError(errno.EFBIG, os.strerror(errno.EFBIG)), r"^in {folder} a file reached the size limit \(ulimit -f"),
        (RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos, file write failed"), "the disk of"),
        (OSError("61440 requested and 36736 written"), "the disk of {folder} is full (.*): make room"),
        (
            OSError(errno.EROFS, os.strerror(errno.EROFS), "a/b"),
            "^a/b is on a read-only disk: make it writ",
        ),
        (
            OSError(errno.ESTALE, os.strerror(errno.ESTALE), "a/b"),
            r"^a/b cannot be read or written \(Stale.*\): its disk or the connection to it fails; mend that",
        ),
        (
            OSError(errno.EXDEV, os.strerror(errno.EXDEV), "a/b", None, "a/.tmp-1"),  # as overlayfs answers
            "^a/b cannot be replaced .Invalid cross-device link., as it .*: name another folder, or remove it .rm -r.",
        ),
        (OSError(errno.EIO, os.strerror(errno.EIO)), "^{folder} cannot be read or written"),
        (
            OSError(errno.EMFILE, os.strerror(errno.EMFILE), "a/b"),
            r"no more files \(.*a/b.*\): raise the limit \(ulimit -n",
        ),
        (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), "ran out of memory or threads .*: raise its limits"),
        (MemoryError(), "ran out of memory or threads .MemoryError.: raise its limits"),
        (RuntimeError("can't start new thread"), "raise its limits"),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), "raise its limits"),
        (KeyError("keep"), "KeyError: 'keep'"),
        (ValueError(), "it ended with ValueError"),
        (ValueError("the keep ratio is too low"), "^the keep ratio is too low$"),
    ],
)
def test_an_error_that_does_not_say_where(tmp_path, error, part):
    said = sentence(error, [str(tmp_path / "results/not/there/model.pt")])
    assert re.search(part.format(folder=tmp_path), said), said


def write_text():
    Path(FULL).write_text("x" * 10, encoding="utf-8")


def write_array():
    with Path(FULL).open("wb") as file:
        np.save(file, np.zeros(10**6))


def write_weights():
    torch.save({"a": torch.zeros(10**6)}, FULL)


@pytest.mark.skipif(not Path(FULL).exists(), reason="has no /dev/full")
@pytest.mark.parametrize("write", [write_text, write_array, write_weights])
def test_a_full_disk_is_said_with_its_place_whoever_notices_it(tmp_path, write):
    with pytest.raises((OSError, RuntimeError)) as caught:
        write()
    said = sentence(caught.value, [str(tmp_path)])
    assert "is full" in said
    assert str(tmp_path) in said or FULL in said


@pytest.mark.skipif(not Path(FULL).exists(), reason="has no /dev/full")
def test_a_log_on_a_full_disk_ends_with_one_sentence(tmp_path, capsys):
    (tmp_path / "job.log").symlink_to(FULL)
    logger = log_to(tmp_path / "job.log")
    try:
        for i in range(25):
            logger.info("message %d", i)
        logger.warning("the result is there")
    finally:
        for handler in logger.handlers:
            if isinstance(handler, logging.FileHandler):  # what it could not write, it would try again
                handler.stream = None
        logger.handlers.clear()
    err = capsys.readouterr().err
    assert err.count("job.log ends here: it cannot be written") == 1
    assert "the result is there" in err
    assert "Traceback" not in err


def test_a_log_holds_names_that_are_not_utf_8(tmp_path, capsys):
    logger = log_to(tmp_path / "job.log")
    logger.info("caf\udce9 is read")
    logger.info("all is read")
    logger.handlers.clear()
    lines = (tmp_path / "job.log").read_text(encoding="utf-8").splitlines()
    assert [line.split("INFO ")[1] for line in lines] == [r"caf\udce9 is read", "all is read"]
    assert capsys.readouterr().err == ""


def test_a_log_that_cannot_be_made_is_a_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "logs").touch()
    assert script.do(REQUEST) == 1
    err = capsys.readouterr().err
    assert "Error in pack: " in err
    assert "logs" in err
    assert "Traceback" not in err


def test_a_place_that_cannot_be_written_is_said_before_anything_starts(tmp_path):
    (tmp_path / "logs").touch()
    with pytest.raises(ValueError, match=r"logs is a file\. Move it away"):
        require_writable(str(tmp_path / "logs/demo"))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(ValueError, match=r"a file reached the size limit \(ulimit -f"):
            require_writable(str(tmp_path / "results/demo"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    require_writable(str(tmp_path / "results/demo"))
    assert not (tmp_path / "results").exists()
    if os.getuid():  # root may write anywhere
        (tmp_path / "shut").mkdir(mode=0o500)
        with pytest.raises(ValueError, match="cannot be written: Permission denied"):
            require_writable(str(tmp_path / "shut/demo"))


@pytest.mark.skipif(sys.platform != "linux", reason="has no limit of addresses")
def test_too_little_memory_for_the_libraries_is_a_sentence(tmp_path):
    """As under ulimit -v, or in a small container."""
    code = "from dqv2.runtime import script\n"
    code += f"script.do({REQUEST | {'stage': 'train', 'log': 'x.log'}})"
    limit = 300 * 2**20

    def small():
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    env = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, preexec_fn=small, capture_output=True, text=True
    )
    assert "Error in train: " in done.stderr
    assert "Traceback" not in done.stderr, done.stderr


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("read", [read_weights, lambda path: load_model(path, DEVICE)])
def test_weights_that_are_none_are_named_and_pytorch_is_not_quoted(tmp_path, damage, read):
    path = tmp_path / "model.pt"
    path.write_bytes(damage)
    with pytest.raises(WeightsError) as caught:
        read(path)
    said = str(caught.value)
    assert said.startswith(str(path))
    assert said.endswith((".", "itself."))
    assert not {"weights_only", "torch.load", "miniz", "()"} & set(said.replace("(", " (").split())
    assert "weights_only" not in said


@given(st.lists(st.lists(st.text(max_size=5), min_size=3, max_size=3), max_size=4))
def test_rows_come_back_whatever_is_in_a_name(rows):
    rows = [[field.replace("\x00", "") for field in row] for row in rows]
    file = io.StringIO(newline="")
    csv_writer(file).writerows(rows)
    assert list(csv.reader(io.StringIO(file.getvalue(), newline=""))) == rows


def test_rows_look_as_before_where_no_name_has_a_carriage_return():
    file = io.StringIO(newline="")
    csv_writer(file).writerows([["a", 1, ""], ["b,c", 2.5, 'd"e'], ["f\rg", 3, "h"]])
    assert file.getvalue() == 'a,1,\n"b,c",2.5,"d""e"\n"f\rg",3,h\n'


def test_a_coreset_with_a_broken_line_is_named_with_the_line(tmp_path):
    (tmp_path / "coreset.csv").write_text(
        "id,kind,class,bin,rank,importance\na,original,x,0,,\nb,original\n", encoding="utf-8"
    )
    with pytest.raises(ValueError, match=r"coreset\.csv, line 3: 2 columns instead of 6\. Remove it"):
        read_pool(tmp_path / "coreset.csv", None)


def test_a_carriage_return_in_the_names_of_a_file_and_a_class(tmp_path):
    from dqv2.data.pack import Pack, write_pack
    from dqv2.select.coreset import mix

    images = np.zeros((2, 3, 8, 8), np.uint8)
    items = [(f"cat\rs/{i}\r.png", 0, None, image) for i, image in enumerate(images)]
    about = {"dataset": "own", "split": "train", "classes": ["cat\rs"], "n": 2, "size": 8}
    write_pack(tmp_path / "pack", items=items, **about)
    pack = Pack.open(tmp_path / "pack")
    assert list(pack.ids) == [item[0] for item in items]
    pool = mix(2, originals=1, tobias=0, generator=torch.Generator())
    write_pool(tmp_path / "coreset.csv", pool, pack)
    assert read_pool(tmp_path / "coreset.csv", pack).rows.tolist() == [0, 1]


CUDA = "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported at some other API call"


def test_a_full_gpu_is_a_sentence_with_its_remedies():
    torchs = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB. GPU 0 has 80 GiB")
    for error, what in ((torchs, "CUDA out of memory"), (RuntimeError(CUDA), "CUDA error: out of memory")):
        said = sentence(error)
        assert said.startswith(f"the GPU ran out of memory ({what}): run fewer jobs")
        assert "jobs_per_gpu" in said
        assert "\n" not in said

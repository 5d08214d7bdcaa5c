"""A disk or connection that fails, or a limit that is reached, is never taken for a damaged file."""

import errno
import io
import os
from pathlib import Path

import pytest

from dqv2.cli import main
from dqv2.data import Pack
from dqv2.data.dataset import pack_dataset
from dqv2.data.image import read_bytes
from dqv2.data.sample import read_place
from dqv2.plan.verify import verify
from dqv2.runtime import record
from dqv2.runtime.files import atomic_path, read_json, write_json
from dqv2.runtime.job import run_job
from dqv2.weights import read_weights
from tests.inputs import pets, save
from tests.jobs import BINS, CORESET, request_of

ROOT = "results/demo"
FAILURES = [errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EMFILE, errno.ENOMEM]
each_failure = pytest.mark.parametrize("number", FAILURES, ids=errno.errorcode.get)


@pytest.fixture
def failing(monkeypatch):
    """Makes each opening of a file fail with an error number."""

    def fail(path, number):
        real = io.open

        def opened(file, *args, **options):
            if isinstance(file, str | os.PathLike) and Path(file).absolute() == Path(path).absolute():
                raise OSError(number, os.strerror(number), str(file))
            return real(file, *args, **options)

        monkeypatch.setattr(io, "open", opened)

    return fail


def files_below(folder):
    return sorted(str(path) for path in Path(folder).rglob("*"))


@each_failure
@pytest.mark.parametrize("file", [Path(BINS).with_name("record.json"), Path(CORESET), Path(f"{ROOT}/config.json")])
def test_verify_removes_no_sound_result(here, small, failing, capsys, number, file):
    """On an NFS server's restart, --remove took a sound result for a damaged one, and removed all made from it."""
    write_json(f"{ROOT}/config.json", small.config.model_dump(mode="json", exclude_unset=True))
    before = files_below(ROOT)
    failing(file, number)
    assert main(["verify", ROOT, "--remove"]) == 1
    assert str(file) in capsys.readouterr().err
    assert files_below(ROOT) == before


def test_a_folder_that_cannot_be_listed_is_not_empty(here, monkeypatch):
    real = os.scandir

    def listed(path="."):
        if str(path).endswith("/bins"):
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", listed)
    with pytest.raises(OSError, match="Stale file handle"):
        list(verify(ROOT))


@each_failure
def test_a_job_says_that_the_disk_fails_and_to_remove_nothing(here, small, failing, capsys, number):
    failing(Path(BINS).with_name("record.json"), number)
    assert run_job(request_of(small, small.job_making(CORESET))) == 1
    said = capsys.readouterr().err
    assert "record.json" in said
    assert "emove" not in said


@each_failure
def test_no_sound_image_is_left_out(tmp_path, failing, number):
    """With on_bad: skip, images that a network folder did not give at the moment were missing in the pack."""
    for seed, path in enumerate(pets("")):
        save(tmp_path / "set" / path, seed=seed)
    failing(tmp_path / "set/cat/1.png", number)
    with pytest.raises(OSError, match=r"cat/1\.png") as caught:
        pack_dataset("own", tmp_path / "out", kind="image_folder", folder=str(tmp_path / "set"), size=8, on_bad="skip")
    assert caught.value.errno == number
    assert files_below(tmp_path / "out") == []


def test_an_image_that_is_not_there_or_not_ours_is_still_left_out(tmp_path, failing):
    assert "No such file" in read_bytes(tmp_path / "gone.png")
    save(tmp_path / "a.png", seed=0)
    failing(tmp_path / "a.png", errno.EACCES)
    assert "Permission denied" in read_bytes(tmp_path / "a.png")


@each_failure
@pytest.mark.parametrize(
    "read",
    [
        record.read,
        read_json,
        read_weights,
        lambda file: Pack.open(file.parent),
        lambda file: read_place(file.parent, "a", f"{file.name}@0+1"),
    ],
    ids=["record", "json", "weights", "pack", "archive"],
)
def test_each_reader_raises_what_says_nothing_about_the_file(tmp_path, failing, number, read):
    file = tmp_path / "meta.json"
    file.write_text("{}", encoding="utf-8")
    failing(file, number)
    with pytest.raises(OSError, match=r"meta\.json") as caught:
        read(file)
    assert caught.value.errno == number


def test_an_error_of_writing_names_the_file(tmp_path):
    """The system says of an open file only what is wrong: a job guessed the disk of its log."""
    with pytest.raises(OSError, match="quota") as caught, atomic_path(tmp_path / "bins.csv"):
        raise OSError(errno.EDQUOT, "Disk quota exceeded")
    assert caught.value.filename == str(tmp_path / "bins.csv")

"""Files are whole or absent: what a reader finds after success, failure and a kill."""

import errno
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dqv2.runtime import files
from dqv2.runtime.files import (
    atomic_dir,
    atomic_path,
    clear_temporaries,
    load_json,
    read_json,
    recover_dirs,
    remove,
    sha256,
    write_json,
)
from dqv2.runtime.stop import Stopped


def test_atomic_path_replaces_on_success_only(tmp_path):
    target = tmp_path / "new" / "a.npy"
    with atomic_path(target) as temporary:
        assert temporary.parent == target.parent
        np.save(temporary, np.arange(3))  # appends .npy to names without it
        assert not target.exists()
    assert np.load(target).tolist() == [0, 1, 2]

    def fail():
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert np.load(target).tolist() == [0, 1, 2]
    assert [p.name for p in target.parent.iterdir()] == ["a.npy"]


def test_atomic_path_wants_the_file_written_and_removes_new_parents(tmp_path):
    (tmp_path / "kept").mkdir()
    with (
        pytest.raises(FileNotFoundError, match=r"nothing was written for .*b\.csv"),
        atomic_path(tmp_path / "kept" / "x" / "y" / "b.csv"),
    ):
        pass
    assert list((tmp_path / "kept").iterdir()) == []


def test_atomic_path_follows_umask_and_symbolic_links(tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "store" / "file")
    before = os.umask(0o022)
    try:
        with atomic_path(tmp_path / "link") as temporary:
            temporary.write_text("x")
    finally:
        os.umask(before)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "store" / "file").stat().st_mode & 0o777 == 0o644


def test_atomic_dir_replaces_a_folder_whole(tmp_path):
    target = tmp_path / "pack"
    for content in ("old", "new"):
        with atomic_dir(target) as staged:
            (staged / content).write_text(content)
            (staged / "sub").mkdir()
    assert sorted(p.name for p in target.iterdir()) == ["new", "sub"]
    assert [p.name for p in tmp_path.iterdir()] == ["pack"]


def test_atomic_dir_keeps_the_old_folder_on_failure(tmp_path):
    target = tmp_path / "pack"
    target.mkdir()
    (target / "old").write_text("old")

    def fail():
        with atomic_dir(target) as staged:
            (staged / "half").write_text("x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [p.relative_to(tmp_path).as_posix() for p in sorted(tmp_path.rglob("*"))] == ["pack", "pack/old"]


def test_atomic_dir_does_not_replace_a_file(tmp_path):
    (tmp_path / "pack").write_text("precious")
    with pytest.raises(NotADirectoryError, match="is a file"), atomic_dir(tmp_path / "pack"):
        pass
    assert (tmp_path / "pack").read_text() == "precious"


def test_a_file_system_that_flushes_no_folders_is_written_to(tmp_path, monkeypatch):
    """VirtualBox's shared folders answer EINVAL for a folder."""
    refused = stat.S_ISDIR

    def fsync(descriptor):
        if refused(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", fsync)
    write_json(tmp_path / "a.json", [1])
    with atomic_dir(tmp_path / "pack") as staged:
        (staged / "b.json").write_text("[2]")
    assert (load_json(tmp_path / "a.json"), load_json(tmp_path / "pack/b.json")) == ([1], [2])
    refused = stat.S_ISREG
    with pytest.raises(OSError, match="Invalid argument"):
        write_json(tmp_path / "a.json", [3])
    assert load_json(tmp_path / "a.json") == [1]


def test_a_folder_of_others_is_not_replaced(tmp_path, monkeypatch):
    """`dqv2` was asked to write to "" and "." and replaced the folder that it was called from."""
    (tmp_path / "thesis.tex").write_text("precious")
    monkeypatch.chdir(tmp_path)
    for target in ("", ".", tmp_path, "../" + tmp_path.name):
        with pytest.raises(FileExistsError, match=r"as it has no meta\.json"), atomic_dir(target, mark="meta.json"):
            pass
    for _ in range(2):  # a new folder, then one of its own
        with atomic_dir("pack", mark="meta.json") as staged:
            (staged / "meta.json").write_text("{}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pack", "thesis.tex"]


def test_a_kill_leaves_no_target(tmp_path):
    code = (
        "import os, signal, sys; from dqv2.runtime.files import atomic_path\n"
        "with atomic_path(sys.argv[1]) as t: t.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "a.txt"], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "a.txt").exists()


def test_a_folder_that_is_written_again_clears_what_a_killed_process_left_of_it(tmp_path):
    code = (
        "import os, signal, sys; from dqv2.runtime.files import atomic_dir\n"
        "with atomic_dir(sys.argv[1]) as t: (t / 'a').write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "crate"], check=False)
    assert len(list(tmp_path.iterdir())) == 1
    with atomic_dir(tmp_path / "crate") as staged, atomic_dir(tmp_path / "crate"):
        assert staged.exists(), "it is still at work"
    assert [path.name for path in tmp_path.iterdir()] == ["crate"]


def test_so_is_what_was_written_into_it_as_a_folder_of_its_own(tmp_path):
    """As a set's packs, which appear together; killed between any two steps."""
    code = """
import os, sys
from pathlib import Path
from dqv2.runtime import files
replace, steps = Path.rename, int(sys.argv[2])
def rename(self, other):
    global steps
    steps -= 1
    replace(self, other) if steps else os._exit(9)
Path.rename = rename
with files.atomic_dir(sys.argv[1]) as staged, files.atomic_dir(staged) as own:
    (own / "a").touch()
"""
    for step in (1, 2, 3, 4):
        assert subprocess.run([sys.executable, "-c", code, tmp_path / "pack", str(step)]).returncode == 9
        with pytest.raises(RuntimeError, match="it fails"), atomic_dir(tmp_path / "pack"):
            raise RuntimeError("it fails")
        assert list(tmp_path.iterdir()) == []


def test_write_json_is_sorted_and_strict(tmp_path):
    path = tmp_path / "m.json"
    write_json(path, {"b": [1, 2.5], "a": {"é": None}})
    assert path.read_text(encoding="utf-8").startswith('{\n  "a": {\n    "é": null')
    assert json.loads(path.read_text(encoding="utf-8")) == {"a": {"é": None}, "b": [1, 2.5]}
    with pytest.raises(ValueError, match=r"value at epochs\[1\]\.loss is not a finite number"):
        write_json(path, {"epochs": [{"loss": 1.0}, {"loss": float("nan")}]})
    with pytest.raises(TypeError):
        write_json(path, {"a": np.int64(1)})
    assert json.loads(path.read_text(encoding="utf-8"))["b"] == [1, 2.5]


def test_sha256_of_bytes_and_files(tmp_path):
    (tmp_path / "f").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256(b"abc") == sha256(tmp_path / "f") == sha256(str(tmp_path / "f")) == expected


def test_what_killed_processes_left_is_cleared_when_old(tmp_path):
    for name in (".tmp-1-pack", "sub/.tmp-2-pack"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "images.npy").write_bytes(b"x")
    (tmp_path / ".tmp-3-file").write_text("x")
    (tmp_path / "kept.csv").write_text("x")
    assert clear_temporaries(tmp_path, older_than=60) == 0
    # A folder's own time stands still while a file in it grows
    growing = tmp_path / ".tmp-growing"
    growing.mkdir()
    (growing / "images.npy").write_bytes(b"x")
    os.utime(growing, (1, 1))
    assert clear_temporaries(tmp_path, older_than=60) == 0
    shutil.rmtree(growing)
    assert clear_temporaries(tmp_path, older_than=-1) == 3
    assert (tmp_path / "kept.csv").exists()
    assert not list(tmp_path.rglob(".tmp-*"))


def test_what_a_process_of_this_machine_left_is_cleared_as_soon_as_it_is_gone(tmp_path):
    write = "import os, sys; from dqv2.runtime.files import atomic_path\nwith atomic_path(sys.argv[1]) as t:\n"
    write += "    t.write_text('half'); print('ready', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", write, str(tmp_path / "checkpoint.pt")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        assert clear_temporaries(tmp_path, older_than=-1) == 0, "it is still at work"
        process.kill()
    assert [path.name[:5] for path in tmp_path.iterdir()] == [".tmp-"]
    assert clear_temporaries(tmp_path / "none", tmp_path, older_than=3600) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_vanishes_while_leftovers_are_looked_for_stops_nobody(tmp_path, monkeypatch):
    """Runs share folders: another one's temporary may be listed, and be gone before it is looked into."""
    for name in (".tmp-1-pack/sub", "figures/old"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "figures/.tmp-2-file").write_text("x")
    scandir = os.scandir

    def vanishing(place):
        if Path(str(place)).name in (".tmp-1-pack", "old"):  # it may be a descriptor
            raise FileNotFoundError(2, "gone", str(place))
        return scandir(place)

    monkeypatch.setattr(os, "scandir", vanishing)
    clear_temporaries(tmp_path, older_than=-1)
    assert not (tmp_path / "figures/.tmp-2-file").exists()


def test_a_temporary_that_cannot_be_removed_hides_no_error_and_stops_nobody(tmp_path, monkeypatch):
    def refuse(path, missing_ok=False):
        raise PermissionError(13, "not permitted", str(path))

    def fail():
        with atomic_path(tmp_path / "a.txt") as temporary:
            temporary.write_text("half")
            raise RuntimeError("the cause")

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(RuntimeError, match="the cause"):
        fail()
    assert clear_temporaries(tmp_path, older_than=-1) == 0, "this process is at work"
    (tmp_path / ".tmp-1-file").write_text("x")
    clear_temporaries(tmp_path, older_than=-1)
    with pytest.raises(PermissionError):
        remove(tmp_path / ".tmp-1-file")


@pytest.mark.parametrize("renamed", [False, True])
def test_a_folder_is_put_back_that_was_moved_aside_by_what_was_killed_then(tmp_path, renamed):
    """Between the two renames the folder has no name, and after them there are two."""
    target = tmp_path / "a-run"
    with atomic_dir(target) as staged:
        (staged / "old").write_text("x")
    script = f"""
import os, shutil
from pathlib import Path
from dqv2.runtime import files
rename = Path.rename
def once(self, other):
    found = rename(self, other)
    if {not renamed}:
        os._exit(9)
    return found
Path.rename = once
shutil.rmtree = lambda *args, **more: os._exit(9)
with files.atomic_dir({str(target)!r}) as staged:
    (staged / "new").write_text("x")
"""
    assert subprocess.run([sys.executable, "-c", script]).returncode == 9
    assert target.exists() == renamed
    recover_dirs(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a-run"]
    assert [path.name for path in target.iterdir()] == ["new" if renamed else "old"]


@pytest.mark.parametrize("error", [Stopped(signal.SIGTERM), KeyboardInterrupt()])
def test_a_signal_at_any_line_of_a_replacement_leaves_one_whole_folder_and_nothing_else(tmp_path, error):
    """Between the two renames the folder was lost, and what a signal kept from being removed stayed."""
    whole = [[f"{kind}{k}" for k in range(3)] for kind in ("new", "old")]
    target, lines = tmp_path / "a-run", 0

    def replace_until(last):
        """Whether the signal came, at the line of this number."""
        nonlocal lines
        lines = 0

        def count(frame, event, _):
            nonlocal lines
            lines += event == "line"
            if event == "line" and lines == last:
                sys.settrace(None)
                raise error
            return count

        sys.settrace(lambda frame, *_: count if frame.f_code.co_filename in (files.__file__, shutil.__file__) else None)
        try:
            with atomic_dir(target) as staged:
                for name in whole[0]:
                    (staged / name).touch()
        except (type(error), OSError):  # interrupted at one line, Python 3.11's rmtree closes a descriptor twice
            return True
        finally:
            sys.settrace(None)
        return False

    came = True
    while came:
        remove(target)
        target.mkdir()
        for name in whole[1]:
            (target / name).touch()
        came = replace_until(lines + 1)
        assert [path.name for path in tmp_path.iterdir()] == ["a-run"], lines
        assert sorted(path.name for path in target.iterdir()) in whole, lines
    assert lines > 60


def test_what_is_left_of_another_folder_with_this_ones_name_at_its_end_stays(tmp_path):
    code = """
import os, sys
from pathlib import Path
from dqv2.runtime.files import atomic_dir
Path.rename = lambda self, other: os.rename(self, other) or os._exit(9)
with atomic_dir(sys.argv[1]) as staged:
    (staged / "new").touch()
"""
    (tmp_path / "my-run").mkdir()
    (tmp_path / "my-run/old").touch()
    assert subprocess.run([sys.executable, "-c", code, tmp_path / "my-run"]).returncode == 9
    with pytest.raises(RuntimeError, match="it fails"), atomic_dir(tmp_path / "run"):
        raise RuntimeError("it fails")
    assert not (tmp_path / "run").exists()
    with pytest.raises(RuntimeError, match="it fails"), atomic_dir(tmp_path / "my-run"):
        raise RuntimeError("it fails")
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["my-run", "my-run/old"]


@pytest.mark.parametrize("text", [None, "", "[" * 10**5, "\ufeff{}", "9" * 5000])
def test_what_is_no_json_is_none_and_a_pipe_in_its_place_blocks_nobody(tmp_path, text):
    file = tmp_path / "config.json"
    os.mkfifo(file) if text is None else file.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"\w"):
        load_json(file)
    assert read_json(file) is None

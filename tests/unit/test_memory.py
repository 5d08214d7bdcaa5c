"""How much memory is free, also within a limit that is lower than the machine's."""

import psutil
import pytest

from dqv2.runtime.memory import FILES, free_memory

MB = 10**6


def group(folder, version, limit, used, cache):
    limit_file, used_file, cache_key = FILES[version]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / limit_file).write_text(f"{limit}\n")
    (folder / used_file).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\n{cache_key} {cache}\n")


@pytest.mark.parametrize("version", [1, 2])
def test_the_lowest_limit_above_a_process_counts_and_cache_gives_way(tmp_path, version):
    base = tmp_path / "memory" if version == 1 else tmp_path
    (tmp_path / "groups").write_text("7:cpu:/job\n4:memory,hugetlb:/job/step\n" if version == 1 else "0::/job/step\n")
    group(base / "job/step", version, 900 * MB, 100 * MB, 0)
    group(base / "job", version, 300 * MB, 200 * MB, 50 * MB)
    assert free_memory(tmp_path / "groups", tmp_path) == 150 * MB
    group(base / "job", version, 100 * MB, 200 * MB, 50 * MB)
    assert free_memory(tmp_path / "groups", tmp_path) == 0


def test_without_a_limit_the_machine_counts(tmp_path):
    (tmp_path / "groups").write_text("0::/job\n")
    group(tmp_path / "job", 2, "max", 100 * MB, 0)
    machine = psutil.virtual_memory().total
    for groups in (tmp_path / "groups", tmp_path / "none"):
        assert 0 < free_memory(groups, tmp_path) <= machine
    assert 0 < free_memory() <= machine

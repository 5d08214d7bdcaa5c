"""What a job says of its inputs: the checksum that their records know, unless somebody changed them since."""

import os

from dqv2.runtime.files import write_json
from dqv2.runtime.record import checksum, checksums_of


def test_an_input_that_was_changed_by_hand_is_not_taken_for_what_its_record_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "results/try/digits/bins/o100/random/seed-0"
    folder.mkdir(parents=True)
    file = "results/try/digits/bins/o100/random/seed-0/bins.csv"
    (tmp_path / file).write_text("as it was made\n")
    made = checksum(file)
    write_json(folder / "record.json", {"stage": "bin", "outputs": {file: made}})
    os.utime(file, (0, 0))
    (found,) = checksums_of({"bins": file})["bins"]
    assert (found["checksum"], found["record"]) == (made, checksum(folder / "record.json"))
    (tmp_path / file).write_text("changed since\n")
    os.utime(folder / "record.json", (0, 0))
    (found,) = checksums_of({"bins": file})["bins"]
    assert found["checksum"] == checksum(file) != made

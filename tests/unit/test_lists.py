"""Users' lists of images."""

import gzip

import pytest

from dqv2.data.errors import DataError
from dqv2.select.lists import read_list


def test_a_packed_list_is_not_called_one_in_another_encoding(tmp_path):
    (tmp_path / "coreset.csv.gz").write_bytes(gzip.compress(b"id\na.png\n"))
    with pytest.raises(DataError, match=r"coreset\.csv\.gz is packed: unpack it \(gunzip\)"):
        read_list(tmp_path / "coreset.csv.gz")

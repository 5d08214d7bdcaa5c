"""Downloads over loopback HTTP: cut off, wrong, refused, with no room; and archives (bad ones: test_security)."""

import errno
import io
import tarfile
import zipfile
from collections import namedtuple

import pytest

from dqv2.data import DataError
from dqv2.data import download as download_module
from dqv2.data.download import download
from dqv2.data.extract import extract
from dqv2.data.fetch import fetch_set
from dqv2.data.published import ARCHIVES
from tests.miniatures import MAKERS, Server, archive, checksum


@pytest.fixture
def server(tmp_path):
    folder = tmp_path / "site"
    folder.mkdir()
    with Server(folder).running() as running:
        yield running


@pytest.fixture
def file(server):
    path = server.folder / "set.tgz"
    path.write_bytes(bytes(range(256)) * 40_000)
    return path


def get(server, tmp_path, file, **options):
    return download(f"{server.url}/set.tgz", tmp_path / "data/set.tgz", checksum(file), pause=0, **options)


def test_a_file_is_fetched_once(server, file, tmp_path):
    path = get(server, tmp_path, file)
    assert path.read_bytes() == file.read_bytes()
    assert [p.name for p in path.parent.iterdir()] == ["set.tgz"]
    get(server, tmp_path, file)
    assert len(server.asked) == 1


def test_a_cut_connection_is_gone_on_with(server, file, tmp_path):
    server.cuts, server.after = 2, 3 * 2**20
    assert get(server, tmp_path, file).read_bytes() == file.read_bytes()
    assert [asked for _, asked in server.asked] == [None, f"bytes={3 * 2**20}-", f"bytes={6 * 2**20}-"]


def test_a_later_run_goes_on_where_the_first_gave_up(server, file, tmp_path):
    server.cuts, server.after = 1, 2**22
    with pytest.raises(DataError, match=r"the connection broke 1 times .*4,194,304 bytes have come; run it again"):
        get(server, tmp_path, file, tries=1)
    assert [p.name for p in (tmp_path / "data").iterdir()] == ["set.tgz.part"]
    assert get(server, tmp_path, file).read_bytes() == file.read_bytes()
    assert server.asked[-1][1] == "bytes=4194304-"


def test_a_server_without_ranges_sends_it_all_again(server, file, tmp_path):
    server.cuts, server.after, server.ranges = 1, 4_000_000, False
    assert get(server, tmp_path, file).read_bytes() == file.read_bytes()


def test_a_length_that_is_said_twice_is_no_error(server, file, tmp_path):
    """As some proxies do: requests joins the two, "3, 3"."""
    server.lengths = 2
    assert get(server, tmp_path, file).read_bytes() == file.read_bytes()


def test_a_part_that_is_whole_or_of_another_file_is_noticed(server, file, tmp_path):
    part = tmp_path / "data/set.tgz.part"
    part.parent.mkdir()
    part.write_bytes(file.read_bytes())
    assert get(server, tmp_path, file).read_bytes() == file.read_bytes()
    for content in (b"another" * 100, file.read_bytes() + b"longer"):
        (tmp_path / "data/set.tgz").unlink()
        part.write_bytes(content)
        assert get(server, tmp_path, file).read_bytes() == file.read_bytes()


def test_a_part_of_which_nothing_tells_whose_it_is_is_fetched_anew(server, file, tmp_path):
    path = tmp_path / "data/set.tgz"
    path.parent.mkdir()
    path.with_name("set.tgz.part").write_bytes(b"another" * 100)
    assert download(f"{server.url}/set.tgz", path, None, pause=0).read_bytes() == file.read_bytes()
    path.unlink()
    server.cuts, server.after = 1, 2**20
    assert download(f"{server.url}/set.tgz", path, None, pause=0).read_bytes() == file.read_bytes()
    assert {asked for _, asked in server.asked} == {None}, "the file may have changed since the connection was cut"


def test_a_wrong_checksum_leaves_nothing(server, file, tmp_path):
    wrong = "sha256:" + "0" * 64
    with pytest.raises(DataError, match=r"checksum sha256:[0-9a-f]+, expected is sha256:0+: .*another file"):
        download(f"{server.url}/set.tgz", tmp_path / "data/set.tgz", wrong)
    assert list((tmp_path / "data").iterdir()) == []


def test_a_wrong_file_that_lies_there_is_named_and_kept(server, file, tmp_path):
    mine = tmp_path / "data/set.tgz"
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(DataError, match="remove it"):
        get(server, tmp_path, file)
    assert mine.read_text() == "mine"
    assert server.asked == []


@pytest.mark.parametrize("status", [403, 404])
def test_a_refusal_is_no_reason_to_ask_again(server, file, tmp_path, status):
    server.status = status
    with pytest.raises(
        DataError, match=rf"the server answers {status}\. Fetch the file by hand to .*set\.tgz, or give another address"
    ):
        get(server, tmp_path, file)
    assert len(server.asked) == 1
    assert list((tmp_path / "data").iterdir()) == []


def test_a_server_that_falters_is_asked_again(server, file, tmp_path):
    server.status = 503
    with pytest.raises(DataError, match=r"the connection broke 3 times .*503"):
        get(server, tmp_path, file, tries=3)
    assert len(server.asked) == 3


def test_nobody_there(tmp_path):
    with pytest.raises(DataError, match="the connection broke 2 times"):
        download("http://127.0.0.1:9/set.tgz", tmp_path / "set.tgz", "md5:0", tries=2, pause=0)


def test_too_small_a_disk_is_known_before_the_first_byte(server, file, tmp_path, monkeypatch):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(download_module.shutil, "disk_usage", lambda _: usage(1000))
    with pytest.raises(DataError, match=r"0\.01 GB to come, and .*data has 0\.00 GB free"):
        get(server, tmp_path, file)
    assert list((tmp_path / "data").iterdir()) == []


def test_a_disk_that_fills_up_on_the_way(server, file, tmp_path, monkeypatch):
    def write(stream, block):
        if stream.tell() > 2_000_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        stream.write(block)

    with monkeypatch.context() as patch:
        patch.setattr(download_module, "_write", write)
        with pytest.raises(DataError, match=r"the disk of .*data is full after [\d,]+ bytes .*resumes from there"):
            get(server, tmp_path, file)
    assert [p.name for p in (tmp_path / "data").iterdir()] == ["set.tgz.part"]
    assert get(server, tmp_path, file).read_bytes() == file.read_bytes()
    assert server.asked[-1][1].startswith("bytes=")


# -- archives ---------------------------------------------------------------------------------------------------------


def tar_with(path, name):
    with tarfile.open(path, "w:gz") as tar:
        for member in ("set/a.txt", name):
            info = tarfile.TarInfo(member)
            info.size = 4
            tar.addfile(info, io.BytesIO(b"evil"))
    return path


def zip_with(path, name):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("set/a.txt", "a")
        file.writestr(name, "evil")
    return path


def test_absolute_names_in_a_tar_stay_in_the_folder(tmp_path):
    """tarfile's data filter takes the leading slash away."""
    extract(tar_with(tmp_path / "a.tgz", "/set/b.txt"), tmp_path / "data", "set")
    assert sorted(p.name for p in (tmp_path / "data/set").iterdir()) == ["a.txt", "b.txt"]


def test_another_archive_is_named(tmp_path):
    with pytest.raises(DataError, match=r"holds no folder cub \(it holds set\)"):
        extract(zip_with(tmp_path / "a.zip", "set/b.txt"), tmp_path / "data", "cub")
    assert list((tmp_path / "data").iterdir()) == []


def test_a_disk_that_fills_up_while_unpacking(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tarfile.TarFile, "extractall", full)
    with pytest.raises(DataError, match=r"disk of .*data is full while .* is unpacked"):
        extract(tar_with(tmp_path / "a.tgz", "set/b.txt"), tmp_path / "data", "set")
    assert list((tmp_path / "data").iterdir()) == []


def test_what_a_killed_process_left_is_removed(tmp_path):
    (tmp_path / "data/.tmp-0123456789ab-set/set").mkdir(parents=True)
    extract(zip_with(tmp_path / "a.zip", "set/b.txt"), tmp_path / "data", "set")
    assert [p.name for p in (tmp_path / "data").iterdir()] == ["set"]


# -- both -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MAKERS)
def test_a_set_is_fetched_once_and_a_folder_that_is_there_is_used(server, tmp_path, name):
    file, found, _ = archive(name, server.folder)
    root = tmp_path / "data"
    folder = fetch_set(name, root, mirror=server.url, checksum=found)
    assert folder == root / ARCHIVES[name].folder
    assert server.asked == [(f"/{file.name}", None)]
    fetch_set(name, root, mirror=server.url, checksum=found)
    assert len(server.asked) == 1
    (root / file.name).unlink()  # a folder of one's own needs no archive
    fetch_set(name, root)
    assert len(server.asked) == 1


def test_nothing_is_written_beside_a_set_that_is_there(tmp_path):
    (tmp_path / "CUB_200_2011").mkdir()
    assert fetch_set("cub200", tmp_path) == tmp_path / "CUB_200_2011"
    assert [path.name for path in tmp_path.iterdir()] == ["CUB_200_2011"]


def test_the_archive_is_not_fetched_again_when_the_folder_is_lost(server, tmp_path):
    file, found, _ = archive("cub200", server.folder)
    root = tmp_path / "data"
    root.mkdir()
    file.rename(root / file.name)
    fetch_set("cub200", root, mirror=server.url, checksum=found)
    assert (root / "CUB_200_2011/images.txt").exists()
    assert server.asked == []


def test_addresses_and_checksums_are_torchvisions():
    from torchvision import datasets

    cifar, food = datasets.CIFAR10, datasets.Food101
    assert (ARCHIVES["cifar10"].url, ARCHIVES["cifar10"].checksum) == (cifar.url, f"md5:{cifar.tgz_md5}")
    assert ARCHIVES["cifar10"].folder == cifar.base_folder
    assert (ARCHIVES["food101"].url, ARCHIVES["food101"].checksum) == (food._URL, f"md5:{food._MD5}")
    for variant, (url, md5) in datasets.Imagenette._ARCHIVES.items():
        ours = ARCHIVES[f"imagenette-{variant.removesuffix('px')}"]
        assert (ours.url, ours.checksum) == (url, f"md5:{md5}")
    assert {name: a.name for name, a in ARCHIVES.items()} == {name: file for name, (_, file) in MAKERS.items()}

"""Where published weights come from: files, packages, timm's hub, and a hub that is not there."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import huggingface_hub.constants
import pytest
from safetensors.torch import save_file

from dqv2.data import DataError
from dqv2.runtime.files import sha256
from dqv2.train.pretrained import load_pretrained
from dqv2.weights import Place, WeightsError, fetch_weights, noted, place_of, require_known, why_missing
from tests.miniatures import HubServer
from tests.unit.test_pretrained import network, tiny


def test_places(tmp_path):
    assert place_of("resnet50.tv_in1k") == Place(place_of("resnet50.tv_in1k").path, hub="resnet50.tv_in1k")
    assert place_of("data/w.pth").path.name == "w.pth"
    assert place_of("package:nobody_has_this/w.pth") == Place(None, package="nobody_has_this")
    assert "nobody-has-this is not installed" in why_missing(place_of("package:nobody_has_this/w.pth"), None)
    assert "no such file" in why_missing(place_of(f"{tmp_path}/w.pth"), None)
    assert why_missing(place_of(f"{tmp_path}/w.pth"), "http://x/w.pth") is None
    with pytest.raises(ValueError, match="with its tag"):
        place_of("resnet50")


def point_hub_at(url, monkeypatch):
    """What HF_ENDPOINT does where it is set before Python begins."""
    template = f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", url)
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A server with timm's hub's layout, that has tiny weights."""
    folder = tmp_path / "hub"
    weights = folder / "timm/test_efficientnet.r160_in1k/resolve/main/model.safetensors"
    weights.parent.mkdir(parents=True)
    save_file(tiny(1000).state_dict(), weights)
    monkeypatch.chdir(tmp_path)
    with HubServer(folder).running() as server:
        point_hub_at(server.url, monkeypatch)
        server.weights = weights
        yield server


def test_the_hub_is_asked_once(hub):
    place = place_of("test_efficientnet.r160_in1k")
    path = fetch_weights(place)
    assert path.read_bytes() == hub.weights.read_bytes()
    asked = len(hub.asked)
    assert fetch_weights(place) == path
    assert len(hub.asked) == asked
    assert load_pretrained(path, network())[1].n_classes == 1000


def test_two_runs_that_want_it_at_once_fetch_it_once(hub, monkeypatch):
    begun = threading.Barrier(3, timeout=1)

    def slowly(file, block):
        with suppress(threading.BrokenBarrierError):
            begun.wait()
        file.write(block)

    monkeypatch.setattr("dqv2.data.download._write", slowly)
    place, url = place_of("data/w.safetensors"), f"{hub.url}/{hub.weights.relative_to(hub.folder).as_posix()}"
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: fetch_weights(place, url=url, sha256=sha256(hub.weights)), range(3)))
    assert {path.read_bytes() for path in found} == {hub.weights.read_bytes()}
    assert len(hub.asked) == 1


def test_a_cut_is_gone_on_with(hub):
    hub.cuts, hub.after = 1, 2**19
    assert fetch_weights(place_of("test_efficientnet.r160_in1k")).read_bytes() == hub.weights.read_bytes()
    assert any(ranges for _, ranges in hub.asked)


def test_another_file_than_the_hub_says_is_refused(hub):
    hub.etag = "0" * 64
    with pytest.raises(DataError, match="another file than the one published"):
        fetch_weights(place_of("test_efficientnet.r160_in1k"))
    assert not place_of("test_efficientnet.r160_in1k").path.exists()


def test_a_mirror_and_a_checksum_of_ones_own(hub):
    place, url = place_of("test_efficientnet.r160_in1k"), f"{hub.url}/{hub.weights.relative_to(hub.folder)}"
    with pytest.raises(DataError, match="another file"):
        fetch_weights(place, url=url, sha256="1" * 64)
    assert fetch_weights(place, url=url, sha256=sha256(hub.weights)).exists()


def test_what_the_hub_has_not_and_a_hub_that_is_not_there(hub, monkeypatch):
    with pytest.raises(WeightsError, match=r"timm has no weights nobodys of resnet50: it has .*a1_in1k"):
        fetch_weights(place_of("resnet50.nobodys"))
    point_hub_at("http://127.0.0.1:9", monkeypatch)
    waited = []
    monkeypatch.setattr(time, "sleep", waited.append)
    with pytest.raises(
        WeightsError, match=r"test_resnet.r160_in1k cannot be downloaded from http://127.0.0.1:9 .*by hand"
    ):
        fetch_weights(place_of("test_resnet.r160_in1k"))
    assert len(waited) > 2, "seconds between one try and the next, of which the hub's own client makes several"


def test_a_file_that_changed_after_it_was_looked_at(tmp_path):
    (tmp_path / "w.pth").write_bytes(b"weights")
    (tmp_path / "note.json").write_text(f'{{"path": "{tmp_path}/w.pth", "sha256": "{"0" * 64}"}}')
    with pytest.raises(WeightsError, match="has changed since"):
        noted(tmp_path / "note.json")
    (tmp_path / "w.pth").unlink()
    with pytest.raises(WeightsError, match="is gone: remove"):
        noted(tmp_path / "note.json")
    for text in ("", '{"pa', "[]", '{"path": "x"}'):
        (tmp_path / "note.json").write_text(text)
        with pytest.raises(WeightsError, match=r"note\.json is damaged: remove it"):
            noted(tmp_path / "note.json")


def test_weights_that_timm_knows_and_its_hub_has_not():
    with pytest.raises(WeightsError, match=r"gcvit_tiny\.in1k is not on timm's hub: set weights to .* url to https://"):
        require_known(place_of("gcvit_tiny.in1k"))

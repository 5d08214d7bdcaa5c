"""What a run will cost: hours by hand from made-up rates, what sharing saves, what is labelled an estimate."""

import re
import subprocess
import sys
from dataclasses import replace

import pytest
import yaml

from dqv2.cli import main
from dqv2.config import ConfigError
from dqv2.cost.estimate import estimate, makespan
from dqv2.cost.networks import count
from dqv2.cost.rates import Facts, Net, read_rates
from dqv2.cost.sizes import sizes_of
from dqv2.cost.table import lines
from dqv2.cost.work import Reckoning
from dqv2.plan.count import jobs_apart, jobs_behind
from tests.conftest import ROOT, make
from tests.plan.counted import job_of

HOST = {
    "title": "made-up",
    "measured": "never",
    "start_up": 4.0,
    "masks": 1e3,
    "recipes": 1e3,
    "compose": 1e6,
    "decode": 10.0,
    "select": {"graphcut_bins": 1e6, "herding": 1e5},
}


def facts(net, classes):
    return Facts(forward=1e9, train=4e9, weights=1000, embedding=64, cells=16)


@pytest.fixture
def rates(tmp_path):
    file = tmp_path / "rates.yaml"
    resnet = {"model": "resnet8", "size": 32, "train": 100, "forward": 600}
    devices = {
        "cpu": {"title": "a CPU", "threads": 1, "measured": "in a dream", "networks": [resnet]},
        "slow": {"title": "a GPU", "peak_tflops": 0.01, "utilisation": 0.4},
    }
    file.write_text(yaml.safe_dump({"devices": devices, "host": HOST}))
    return read_rates(file)


@pytest.fixture
def small(demo, change):
    """Two methods with one coreset each; DQ_V2's needs masks and features."""
    values = change(demo, "targets", ["fig4b"])
    values = change(values, "experiments.fig4b", {"method": ["control_bins", "dq_v2"], "figure": {"kind": "methods"}})
    return change(values, "seeds", [0, 1])


def test_hours_of_a_small_plan_by_hand(small, rates):
    found = estimate(make(small), rates, "cpu", cores=1, facts=facts)
    n, kept, seeds, start = 1200, 120, 2, 4.0
    one_arm, two_arms = seeds * start, 2 * seeds * start  # a job is one arm and one seed
    expected = {
        "pack": start,  # digits are drawn, not decoded
        "early_train": one_arm + seeds * 10 * n / 100,
        "saliency": one_arm + seeds * n / 600,
        "augment": one_arm + seeds * 2 * n * 64 / 1e3,
        "features": one_arm + seeds * (n / 600 + n * 32**2 / 1e6),
        # GraphCut over 1200 and over 1800 images in ten classes, embeddings of 64 numbers
        "bin": two_arms + seeds * (1200**2 + 1800**2) / 10 * 64 / 1e6,
        "sample": two_arms,
        # 200 iterations of 64; a third of DQ_V2's coreset is composed
        "train": two_arms + seeds * (2 * 200 * 64 / 100 + kept / 3 * 32**2 / 1e6),
        "evaluate": two_arms + 2 * seeds * (197 + 400) / 600,
    }
    assert dict(found.by_stage()) == pytest.approx(expected)
    assert found.on_device() == pytest.approx(
        sum(expected[s] for s in ("early_train", "saliency", "features", "train", "evaluate"))
    )
    assert found.beside() == pytest.approx(sum(expected.values()) - found.on_device())
    assert found.wall == pytest.approx(sum(expected.values())), "one core does one job at a time"
    assert not any(price.guessed for price in found.prices.values())
    assert found.jobs.total() == len(jobs_behind(make(small))[0])


def test_what_sharing_saves(small, rates, change):
    plan = make(small)
    found = estimate(plan, rates, "cpu", facts=facts)
    assert found.jobs_apart.total() == jobs_apart(plan).total()
    seconds = found.by_stage()
    assert found.apart["early_train"] == pytest.approx(2 * seconds["early_train"])
    assert found.apart["augment"] == pytest.approx(seconds["augment"])
    assert found.alone("fig4b") == pytest.approx(found.on_device())
    values = change(small, "targets", ["fig4b", "cutmix"])
    both = estimate(make(change(values, "experiments.cutmix.method", ["control_bins"])), rates, "cpu", facts=facts)
    assert both.on_device() == pytest.approx(found.on_device())
    assert both.alone("cutmix") == 0
    assert both.apart["train"] == pytest.approx(seconds["train"] * 1.5, rel=0.01)


def test_the_disk(small, rates):
    found = estimate(make(small), rates, "cpu", facts=facts)
    n, seeds = 1200, 2
    assert found.disk["weights"] == 1000 * seeds * 3
    assert found.disk["recipes"] == seeds * n * (8 + 4 * 64)
    assert found.disk["features"] == seeds * n * 4 * ((64 + 10 + 16) + (64 + 10))
    assert found.disk["packs"] == pytest.approx(1797 * 3 * 32**2, rel=0.05)
    assert found.state == 2000, "one training at a time: weights and momentum"


def test_what_was_not_measured_is_estimated_from_flops_and_says_so(small, rates):
    plan = make(small)
    found = estimate(plan, rates, "slow", gpus=2, cores=2, facts=facts)
    early = found.by_stage(lambda price: price.network)["early_train"]
    assert early == pytest.approx(2 * 10 * 1200 / (0.01e12 * 0.4 / 4e9)), "1 image a second"
    text = "\n".join(lines(plan, rates, found))
    assert "a GPU: estimated, not measured" in text
    assert "device-hours (estimated, not measured)" in text
    assert "wall time on 2 × a GPU, 2 cores (estimated, not measured)" in text
    measured = "\n".join(lines(plan, rates, estimate(plan, rates, "cpu", facts=facts)))
    assert "estimated" not in measured
    assert "core-hours (from measured rates)" in measured


def test_a_network_that_was_not_measured_is_scaled_from_those_that_were(small, rates, change):
    plan = make(change(small, "backbones.early.model", "resnet20"))

    def twice(net, classes):
        return facts(net, classes)._replace(train=8e9 if net.model == "resnet20" else 4e9)

    found = estimate(plan, rates, "cpu", facts=twice)
    stages = found.by_stage(lambda price: price.guessed)
    assert stages["early_train"] == pytest.approx(2 * 10 * 1200 / 50)
    assert stages["train"] == 0
    assert "% of the networks' time is estimated, not measured" in "\n".join(lines(plan, rates, found))


@pytest.fixture
def mixed(small, change):
    """A trainer in bfloat16 and a backbone in float32 of the same network."""
    return make(change(small, "trainers.resnet8.precision", "bfloat16"))


def test_each_precision_has_its_own_rate(mixed, tmp_path):
    file = tmp_path / "rates.yaml"
    resnet = {"model": "resnet8", "size": 32}
    networks = [
        resnet | {"train": 100, "forward": 600},  # float32, where nothing is said
        resnet | {"precision": "bfloat16", "train": 400, "forward": 1800},
    ]
    file.write_text(yaml.safe_dump({"devices": {"fast": {"title": "a GPU", "networks": networks}}, "host": HOST}))
    found = estimate(mixed, read_rates(file), "fast", facts=facts)
    network, n, seeds = found.by_stage(lambda price: price.network), 1200, 2
    assert network["early_train"] == pytest.approx(seeds * 10 * n / 100)
    assert network["saliency"] == pytest.approx(seeds * n / 600)
    assert network["train"] == pytest.approx(2 * seeds * 200 * 64 / 400)
    assert network["evaluate"] == pytest.approx(2 * seeds * (197 + 400) / 1800)
    assert not any(price.guessed for price in found.prices.values())


def test_a_rate_of_another_precision_is_no_measurement(mixed, rates):
    found = estimate(mixed, rates, "cpu", facts=facts)
    guessed = found.by_stage(lambda price: price.guessed)
    assert guessed["train"] > 0
    assert guessed["evaluate"] > 0
    assert guessed["early_train"] == guessed["saliency"] == guessed["features"] == 0


def test_float32_has_its_share_of_the_peak(mixed, rates):
    half = replace(rates.devices["slow"], float32_share=0.5)
    known = replace(rates, devices=rates.devices | {"slow": half})
    found, whole = (estimate(mixed, given, "slow", facts=facts) for given in (known, rates))
    less, more = (each.by_stage(lambda price: price.network) for each in (whole, found))
    for stage in ("early_train", "saliency", "features"):
        assert more[stage] == pytest.approx(2 * less[stage])
    for stage in ("train", "evaluate"):
        assert more[stage] == pytest.approx(less[stage])
    big = replace(known, devices={"big": replace(half, peak=20e12)})
    text = "\n".join(lines(mixed, big, estimate(mixed, big, "big", facts=facts)))
    assert "at 40% of 20 TFLOP/s in bfloat16 and of 10 TFLOP/s in float32" in text
    # what was measured in one precision alone is converted for the other
    net = Net("resnet8", 32)
    one = replace(half, networks={net.text: {"train": 100.0}})
    asked = Net("resnet20", 32, precision="bfloat16")
    assert one.rate(asked, "train", lambda net: facts(net, 10), {net.text: net}) == (200.0, False)
    assert read_rates().devices["h100"].float32_share == 0.5


def test_precision_auto_is_what_the_device_is_fast_in(small, rates, change):
    """float32 on a CPU, unless its rates have networks in bfloat16."""
    plan = make(change(small, "trainers.resnet8.precision", "auto"))
    cpu, net = rates.devices["cpu"], Net("resnet8", 32, precision="bfloat16")
    halves = replace(cpu, networks=cpu.networks | {net.text: {"train": 100.0, "forward": 600.0}})
    for device, auto in ((cpu, "float32"), (rates.devices["slow"], "bfloat16"), (halves, "bfloat16")):
        assert device.auto == auto
    fast = replace(rates, devices={"cpu": halves}, nets=rates.nets | {net.text: net})
    for each in (rates, fast):
        assert estimate(plan, each, "cpu", facts=facts).by_stage(lambda price: price.guessed)["train"] == 0, (
            "as measured"
        )


def test_a_dataset_is_counted_once_and_not_for_every_job(small, rates, monkeypatch):
    """Folders of 60,000 files are listed for it."""
    counted = []
    monkeypatch.setattr("dqv2.cost.estimate.sizes_of", lambda *args: counted.append(args[1]) or sizes_of(*args))
    estimate(make(small), rates, "cpu", facts=facts)
    assert counted == ["digits"]


def test_a_network_is_compiled_in_training_alone(small, rates, change):
    plan = make(change(change(small, "trainers.resnet8.compile", True), "trainers.resnet8.precision", "bfloat16"))
    reckoning = Reckoning(plan, lambda dataset: sizes_of(plan, dataset), facts)
    nets = {(kind, net.text) for job in jobs_behind(plan)[0] for net, kind, _ in reckoning.of(job).networks}
    name = "resnet8 32px"
    assert nets == {
        ("train", f"{name} bfloat16 compiled"),
        ("forward", f"{name} bfloat16"),
        ("train", name),
        ("forward", name),
    }


def test_jobs_side_by_side():
    stages = dict(zip("abcd", ("pack", "train", "train", "bin"), strict=True))
    a, b, c, d = (job_of(name, name=letter) for letter, name in stages.items())
    reads, seconds = {a: [], b: [a], c: [a], d: [a]}, {a: 1.0, b: 5.0, c: 3.0, d: 9.0}
    one = {"pack": 1, "train": 1, "bin": 1}
    assert makespan(reads, seconds, gpus=1, cores=1, share=one) == 10
    assert makespan(reads, seconds, gpus=2, cores=1, share=one) == 10
    assert makespan(reads, seconds, gpus=0, cores=1, share=one) == 18
    assert makespan(reads, seconds, gpus=0, cores=2, share=one | {"train": 2}) == 1 + 9 + 8


def test_flops_are_those_of_the_formula():
    found = count(Net("resnet8", 32))
    stem = 16 * 16 * 16 * 27
    blocks = (
        16**2 * 2 * 16 * 16 * 9
        + 8**2 * (16 * 32 * 9 + 32 * 32 * 9 + 16 * 32)
        + 4**2 * (32 * 64 * 9 + 64 * 64 * 9 + 32 * 64)
    )
    # the last layer stands twice: the pass of `forward_pass` asks for embedding and logits apart
    assert found.forward == 2 * (stem + blocks + 64 * 10)
    assert 2.8 < found.train / found.forward < 3
    assert (found.embedding, found.cells) == (64, 16)
    assert count(Net("resnet8", 32), 20).weights - found.weights == 4 * 10 * 65


def test_sizes(demo, paper, change, tmp_path):
    assert sizes_of(make(demo), "digits")[:4] == (1200, 197, 400, 10)
    values = change(paper, "targets", ["table2"])
    assert sizes_of(make(values), "tiny_imagenet")[:3] == (100_000, 0, 10_000)
    held = change(values, "datasets.tiny_imagenet.validation", 0.1)
    held = change(held, "datasets.tiny_imagenet.per_class", {"train": 100})
    assert sizes_of(make(held), "tiny_imagenet")[:3] == (20_000, 10_000, 10_000)
    some = change(values, "datasets.tiny_imagenet.classes", 50)
    assert sizes_of(make(some), "tiny_imagenet") == (25_000, 0, 2_500, 50, "published")
    for split, number in (("train", 3), ("test", 2)):
        for name in ("a", "b"):
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(number):
                (tmp_path / split / name / f"{i}.png").touch()
    own = {"title": "own", "kind": "image_folder", "path": str(tmp_path), "size": 32}
    plan = make(change(demo, "datasets.own", own))
    assert sizes_of(plan, "own") == (6, 0, 4, 2, "counted in its folder")
    assert sizes_of(plan, "own", {"own": 50}).train == 50
    # A share is held out of train only where the split has no folder
    shares = make(change(demo, "datasets.own", own | {"validation": 0.5, "test": 0.5}))
    assert sizes_of(shares, "own")[:3] == (3, 3, 4)
    (tmp_path / "val/a").mkdir(parents=True)
    (tmp_path / "val/a/0.png").touch()
    assert sizes_of(shares, "own")[:3] == (6, 1, 4)
    tables = make(change(demo, "datasets.own", own | {"kind": "table"}))
    with pytest.raises(ConfigError, match="--images own=5000"):
        sizes_of(tables, "own")
    gone = make(change(demo, "datasets.own", own | {"path": str(tmp_path / "none")}))
    with pytest.raises(ConfigError, match="--images own=5000"):
        sizes_of(gone, "own")


def test_a_device_nobody_knows_and_a_file_that_is_none_of_rates(rates, tmp_path):
    with pytest.raises(ConfigError, match="--device tpu: there are no rates for it; there are cpu, h100, h200, slow"):
        rates.device("tpu")
    for text in (
        "hello",
        "devices: {x: {title: y}}",
        "devices: {x: {title: y, networks: [{model: a}]}}",
        "devices: {x: {title: y, networks: [{model: a, size: 8, precision: float16, train: 1}]}}",
        "devices: {x: {title: y, peak_tflops: 1, utilisation: 0.1, float32_share: 0}}",
        "[",
        "{a: 1}",
    ):
        (tmp_path / "bad.yaml").write_text(text)
        with pytest.raises(ConfigError, match="rates"):
            read_rates(tmp_path / "bad.yaml")


def test_the_command(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)

    def run(*arguments):
        return main(["plan", "config/smoke.yaml", "--cost", *arguments])

    assert run("--device", "cpu", "--cores", "2") == 0
    printed = capsys.readouterr().out
    assert "sharing saves" in printed
    assert "wall time on 2 cores" in printed
    assert run("--device", "abacus") == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "--device abacus: there are no rates for it; there are cpu, h100, h200" in error
    assert run("--images", "own") == 1
    assert "say it as DATASET=NUMBER" in capsys.readouterr().err
    assert run("--images", "digit=5") == 1
    assert "--images digit: there is no such dataset; there are: " in capsys.readouterr().err
    assert main(["plan", "config/smoke.yaml", "--images", "digits=5"]) == 1
    assert "matter only for the cost: add --cost" in capsys.readouterr().err
    for wrong, why in (
        (("--utilisation", "2"), "2 is not a share"),
        (("--gpus", "0"), "0 is not a whole number above 0"),
    ):
        with pytest.raises(SystemExit):
            run(*wrong)
        assert why in capsys.readouterr().err


@pytest.mark.parametrize("file", ["own_images", "folder", "boxes"])
def test_each_configuration_has_a_cost(file, capsys, monkeypatch):
    """Also those that train nothing: of coresets, of masks."""
    monkeypatch.chdir(ROOT)
    images = ["--images", "tiny_imagenet=100000" if file == "boxes" else "own=5000"]
    assert main(["plan", f"config/{file}.yaml", "--cost", "--device", "cpu", "--cores", "2", *images]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"^sample +[1-9]|^augment +[1-9]", printed, re.MULTILINE)
    assert bool(re.search("^train ", printed, re.MULTILINE)) == (file == "folder")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a list\n", "holds a list"),
        ("run: [a\n", "is not valid YAML"),
        ("trainers: {resnet8: {model: resnet_eight}}\n", "model 'resnet_eight': neither"),
    ],
)
def test_a_mistake_is_one_sentence(text, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    (tmp_path / "mine.yaml").write_text(text)
    assert main(["plan", "config/smoke.yaml", str(tmp_path / "mine.yaml"), "--cost", "--device", "cpu"]) == 1
    assert message in capsys.readouterr().err


def test_a_plan_without_a_network_has_a_cost_too(demo, rates, change):
    block = {"method": ["random"], "export": {"images": "links"}}
    plan = make(change(change(demo, "experiments.mine", block), "targets", ["mine"]))
    printed = "\n".join(lines(plan, rates, estimate(plan, rates, "cpu", facts=facts)))
    assert "core-hours (from measured rates): 0.0; without sharing 0.0, so that sharing saves 0%" in printed


def test_the_plan_itself_imports_no_torch_for_costs():
    code = "import sys, dqv2.plan, dqv2.cli; print({'torch', 'dqv2.cost.rates'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True).strip() == "set()"


def test_fresh_backgrounds_are_composed_where_the_network_is(small, rates, change):
    values = change(small, "experiments.fig4b", {"method": ["random"], "figure": {"kind": "methods"}})
    plain = make(values)
    fresh = make(change(values, "trainers.resnet8.fresh_tobias", {"mask": "centre", "size": 8}))
    shown = 200 * 64
    for device, pixels in (("cpu", shown * 32**2), ("slow", 0)):
        more, less = (
            estimate(plan, rates, device, facts=facts).by_stage(lambda price: price.host)["train"]
            for plan in (fresh, plain)
        )
        assert more - less == pytest.approx(2 * (shown * 64 / 1e3 + pixels / 1e6))

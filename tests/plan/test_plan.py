"""From configuration to unique runs: what is shared, what depends on what, what is refused."""

import ast
import os
import time
from pathlib import Path

import pytest

from dqv2.config import ConfigError
from dqv2.paths import ratio
from dqv2.plan.before import check_jobs, set_clocks
from dqv2.stages import stage
from tests.conftest import ROOT, make
from tests.plan.counted import chain_of, job_of, options_of


def test_runs_that_experiments_share_run_once(demo):
    plan = make(demo)
    asked = sum(len(rows) for rows in plan.rows.values())
    assert asked > len(plan.runs) == len(set(map(plan.metrics_of, plan.runs)))
    shared = {plan.metrics_of(run) for run, *_ in plan.rows["fig4a"]} & {
        plan.metrics_of(run) for run, *_ in plan.rows["controls"]
    }
    assert len(shared) == 5 * len(demo["seeds"])


def test_an_axis_without_effect_makes_no_second_run(demo, change):
    values = change(demo, "experiments.fig5b.arms", [{"method": ["random", "dq_no_pixel"], "tobias_size": [4, 8]}])
    assert len(make(values).rows["fig5b"]) == 2 * len(demo["seeds"])


def test_paths_hold_only_what_a_stage_depends_on():
    fields = {
        ("early_train", "model"): {"dataset", "backbone", "seed"},
        ("saliency", "saliency"): {"dataset", "backbone", "seed"},
        ("augment", "recipe"): {"dataset", "mask", "size", "seed"},
        ("bin", "bins"): {"dataset", "selection", "seed"},
        ("sample", "coreset"): {"dataset", "selection", "keep", "seed"},
    }
    for (name, output), expected in fields.items():
        assert {part.split("}")[0] for part in stage(name).writes[output].split("{")[1:]} == expected


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("coreset/o100/random/keep-0.0/seed-0/coreset.csv", "'0.0' is no keep ratio, which is from 1e-06 to 1"),
        ("coreset/o100/random/keep-1.2/seed-0/coreset.csv", "'1.2' is no keep ratio, which is from 1e-06 to 1"),
        ("coreset/o100/random/keep-1.2.3/seed-0/coreset.csv", "'1.2.3' is no keep ratio"),
        ("coreset/o100/random/keep-0.10/seed-0/coreset.csv", "the keep ratio '0.10' is spelt 0.1 in paths"),
        ("coreset/o100/random/keep-1e-1/seed-0/coreset.csv", "the keep ratio '1e-1' is spelt 0.1 in paths"),
        ("coreset/o100/random/keep-1.0/seed-0/coreset.csv", "the keep ratio '1.0' is spelt 1 in paths"),
        ("coreset/o100/random/keep-0.1/seed-00/coreset.csv", "the seed '00' is spelt 0 in paths"),
        (
            "coreset/o100/random/keep-0.1/seed-4294967296/coreset.csv",
            "'4294967296' is no seed, which is from 0 to 42",
        ),
        ("tobias/mask-early/size-08/seed-0/recipe.npz", "the Tobias size '08' is spelt 8 in paths"),
        ("tobias/mask-early/size-0/seed-0/recipe.npz", "'0' is no Tobias size, which is from 1 to 4096"),
        (
            "tobias/mask-early/size-64/seed-0/recipe.npz",
            "Tobias size 64 is finer than the 32 pixels of datasets.digits",
        ),
        ("train/o100/random/keep-0.1/coreset-seed-01/resnet8/seed-0/model.pt", "the seed '01' is spelt 1 in paths"),
        ("train/o100/random/keep-0.1/coreset-seed-1/resnet8/seed-1/model.pt", "the coreset's seed 1 is the training's"),
        (
            "train/o100/random/keep-0.1/pixels-other/resnet8/seed-1/model.pt",
            "the configuration has no pixel step 'oth",
        ),
        (
            "train/o100/random/keep-0.1/pixels-none/resnet8/seed-1/model.pt",
            "the configuration has no pixel step 'non",
        ),
    ],
)
def test_a_path_that_no_run_would_have_is_unknown(demo, path, said):
    plan = make(demo)
    assert plan.unknown(plan.job_making(f"results/demo/digits/{path}")).startswith(said)


def test_a_path_of_a_mask_that_the_set_cannot_have_is_unknown(paper):
    job = make(paper).job_making("results/paper/imagenette/tobias/mask-object/size-4/seed-0/recipe.npz")
    assert "needs a dataset with known objects; imagenette has none" in make(paper).unknown(job)


def test_a_seed_and_a_keep_ratio_of_no_experiment_are_known(demo):
    plan = make(demo)
    assert not any(plan.unknown(job) for job in plan.jobs(plan.targets()))
    for place in ("keep-0.123/seed-77", "keep-1e-06/seed-4294967295", "keep-1/seed-0"):
        assert plan.unknown(plan.job_making(f"results/demo/digits/coreset/o100/random/{place}/coreset.csv")) is None


def test_bins_do_not_depend_on_the_keep_ratio(demo, change):
    one = make(demo)
    two = make(change(demo, "experiments.fig5b.keep_ratio", [0.1, 0.2]))
    assert two.selections == one.selections
    assert len(two.runs) > len(one.runs)


def test_a_new_experiment_is_one_block(demo, change):
    block = {"method": ["random", "dq_v2"], "keep_ratio": [0.15, 0.25], "table": {"column": "keep_ratio"}}
    values = change(change(demo, "experiments.mine", block), "targets", [*demo["targets"], "mine"])
    plan, before = make(values), make(demo)
    assert set(plan.runs) - set(before.runs) == {run for run, *_ in plan.rows["mine"]}
    assert len(plan.rows["mine"]) == 4 * len(demo["seeds"])
    assert "paper_figures/demo/mine_table.tex" in plan.targets()


def test_a_mask_is_part_of_the_name_only_where_it_tells_arms_apart(demo):
    plan = make(demo)
    assert {title for _, title, _ in plan.rows["fig4a"]} == {
        "Random",
        "GraphCut",
        "DQ",
        "DQ (no pixel step)",
        "DQ_V2",
    }
    assert "DQ without pre-trained networks" in {title for _, title, _ in plan.rows["controls"]}
    assert "DQ_V2, true mask" in {title for _, title, _ in plan.rows["controls"]}
    assert "Full set" in {title for _, title, _ in plan.rows["controls"]}


def nested(block):
    return [block, *(inner for value in block.values() if isinstance(value, dict) for inner in nested(value))]


def test_params_are_plain_sorted_and_narrow(demo):
    plan = make(demo)
    for job in plan.jobs(plan.targets()):
        options = plan.options(job)
        assert ast.literal_eval(repr(options)) == options, "plain builtins"
        assert all(list(block) == sorted(block) for block in nested(options))
        assert options["version"] == job.stage.version
        assert not {"title", "threads"} & set(options)
        assert "seed" not in options or job.stage.name in ("autoencoder", "pictures", "pixel_pictures")
    assert options_of(plan, "early_train", dataset="digits", backbone="untrained").keys() <= {
        "args",
        "epochs",
        "image_size",
        "input_size",
        "model",
        "stem",
        "version",
    }


def files_and_params(plan):
    """Every training of a plan with all that it depends on, as Snakemake sees it."""
    found = {}
    for run in plan.runs:
        jobs = chain_of(plan, run)
        found[plan.metrics_of(run)] = [(job.stage.name, plan.reads(job), plan.options(job)) for job in jobs]
    return found


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("masks.early.backbone", "untrained"),
        ("masks.early.fraction", 0.4),
        ("masks.early.source", "shuffled"),
        ("backbones.early.epochs", 3),
        ("backbones.early.model", "resnet20"),
        ("selectors.bins.n_bins", 5),
        ("selectors.bins.lam", 0.5),
        ("mixtures.o100_t50.tobias", 0.25),
        ("mixtures.o100_t50.budget", "pool"),
        ("trainers.resnet8.weight_decay", 0.0),
        ("datasets.digits.split_seed", 1),
        ("datasets.digits.augment.flip", True),
        ("datasets.digits.stem", "small"),
        ("defaults.tobias_size", 4),
        ("defaults.keep_ratio", 0.2),
        ("defaults.backbone", "untrained"),
        ("methods.dq_v2.mixture", "o100_t100"),
    ],
)
def test_a_change_of_the_configuration_changes_a_path_or_a_param(demo, change, path, value):
    values = change(demo, "targets", ["fig4a"])
    before, after = files_and_params(make(values)), files_and_params(make(change(values, path, value)))
    ours = next(key for key in before if "o100_t50" in key)
    assert before[ours] != after.get(ours)


def test_titles_and_threads_change_nothing(demo, change):
    before = files_and_params(make(demo))
    for path, value in [
        ("masks.early.title", "x"),
        ("threads", 2),
        ("datasets.digits.title", "x"),
        ("label", "y"),
        ("trainers.resnet8.devices", 4),
    ]:
        assert files_and_params(make(change(demo, path, value))) == before


@pytest.mark.parametrize(
    ("key", "value"), [("on_out_of_memory", "approximate"), ("precision", "bfloat16"), ("compile", True)]
)
def test_how_a_training_runs_is_a_param_only_where_it_is_no_default(demo, change, key, value):
    """So that a new key reruns nothing."""
    plan, changed = make(demo), change(change(demo, f"trainers.resnet8.{key}", value), f"backbones.early.{key}", value)
    for name, axes in (
        ("train", {"trainer": "resnet8"}),
        ("early_train", {"backbone": "early"}),
        ("score", {"backbone": "early"}),
    ):
        before, after = (options_of(p, name, dataset="digits", **axes) for p in (plan, make(changed)))
        assert key not in before
        assert after == dict(sorted((before | {key: value}).items()))


def test_random_weights_do_not_depend_on_how_others_are_trained(demo, change):
    changed = change(change(demo, "datasets.digits.augment.flip", True), "backbones.untrained.learning_rate", 0.5)
    before, after = (
        options_of(make(values), "early_train", dataset="digits", backbone="untrained") for values in (demo, changed)
    )
    assert before == after


def test_impossible_requests_are_refused(demo, change):
    with pytest.raises(ConfigError, match="Tobias size 40 is finer than the 32 pixels"):
        make(change(demo, "defaults.tobias_size", 40))
    values = change(demo, "experiments.fig6.keep_ratio", [0.9])
    with pytest.raises(ConfigError, match="more images than the pool"):
        make(values)


def test_missing_folders_are_named_with_the_expected_layout(paper, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = make(paper)
    with pytest.raises(ConfigError, match=r"datasets\.imagenet30\.path = 'data/imagenet'.*train/WNID"):
        check_jobs(plan, [job_of("pack", dataset=name) for name in plan.datasets])


def test_what_cannot_be_compiled_here_is_said_before_the_first_job(demo, change, monkeypatch):
    plan = make(change(demo, "trainers.resnet8.compile", True))
    jobs = [job_of("train", dataset="digits", trainer="resnet8", selection="o100/random", keep="0.1", seed="0")]
    monkeypatch.setattr("dqv2.plan.before.why_not_compiled", lambda device: "no compiler")
    with pytest.raises(ConfigError, match=r"compiled:\n  trainers\.resnet8 on datasets\.digits: no compiler\."):
        check_jobs(plan, jobs)
    check_jobs(plan, jobs, here=False)  # the machines of a cluster may have one
    monkeypatch.setattr("dqv2.plan.before.why_not_compiled", lambda device: None)
    check_jobs(plan, jobs)


def test_a_folder_that_may_not_be_looked_for_is_not_called_missing(paper, monkeypatch):
    def stat(path, **_):
        raise PermissionError(13, "Permission denied", str(path))

    plan = make(paper)
    monkeypatch.setattr(Path, "stat", stat)
    monkeypatch.setattr(Path, "is_dir", lambda path: False)  # as from Python 3.14
    with pytest.raises(PermissionError, match="data/imagenet"):
        check_jobs(plan, [job_of("pack", dataset="imagenet30")])


def test_times_to_come_are_set_to_now_but_for_a_persons_own_files(demo, change, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    values, tomorrow = change(demo, "backbones.pretrained.weights", "mine.pth"), time.time() + 86400
    Path("mine.pth").touch()
    plan = make(values)
    train = next(job for job in plan.jobs(plan.targets()) if job.stage.name == "train")
    coreset, pack = plan.reads(train)["coreset"], plan.file("pack", "train", dataset=train.w.dataset)
    stamp = f"{pack}/.snakemake_timestamp"
    for file in map(Path, (coreset, stamp, "mine.pth")):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        os.utime(file, (tomorrow, tomorrow))
    assert set_clocks(plan, [train]) == sorted([coreset, pack])
    assert all(Path(file).stat().st_mtime <= time.time() for file in (coreset, stamp, pack))
    assert set_clocks(plan, [train]) == []
    page = next(job for job in plan.jobs(plan.targets()) if job.stage.name == "page")
    figure = Path(plan.reads(page)["files"][0])
    figure.parent.mkdir(parents=True)
    figure.touch()
    os.utime(figure, (tomorrow, tomorrow))
    assert set_clocks(plan, [page]) == [str(figure)], "the run's too, though it lies elsewhere"
    with pytest.raises(ConfigError, match=r"mine\.pth is dated .*: touch "):
        set_clocks(plan, [job_of("weights", block="backbones", network="pretrained")])


@pytest.mark.parametrize(("value", "text"), [(0.1, "0.1"), (1.0, "1"), (0.125, "0.125"), (1e-4, "0.0001")])
def test_keep_ratio_in_paths(value, text):
    assert ratio(value) == text
    assert float(text) == value


def test_the_library_never_imports_snakemake():
    for file in (ROOT / "src/dqv2").rglob("*.py"):
        tree = ast.parse(file.read_text())
        names = [n.name for node in ast.walk(tree) if isinstance(node, ast.Import) for n in node.names]
        names += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        assert not [name for name in names if name.split(".")[0] == "snakemake"], file


def pixel_params(plan):
    """What the pixel step, figure 3 and table 1 depend on: of the step, the encoding, the pictures, the captions."""
    jobs = plan.jobs(plan.targets())
    by_stage = {
        name: [job for job in jobs if job.stage.name == name] for name in ("pixels", "storage", "pixel_pictures")
    }
    found = [plan.options(job) for job in by_stage["pixels"] if job.w.pixels == "mae"]
    shown = [plan.reads(job)["coreset"] for job in by_stage["pixel_pictures"]]
    files = {job.w.experiment: plan.reads(job) for job in by_stage["storage"]}
    notes = [plan.note("fig3")]
    return [found[:1], [plan.options(job) for job in by_stage["storage"]] + [files], shown, notes]


@pytest.mark.parametrize(
    ("path", "value", "changed"),
    [
        ("pixels.mae.backbone", "untrained", [0]),
        ("pixels.mae.share", 0.2, [0]),
        ("pixels.mae.autoencoder", "other", [0, 3]),
        ("experiments.table1.storage.tobias_size", 4, [1]),
        ("experiments.table1.storage.mask", "centre", [1]),
        ("experiments.table1.keep_ratio", 0.2, [1]),
        ("experiments.fig3.keep_ratio", 0.2, [2]),
        ("experiments.fig3.selector", "random", [2]),
        ("experiments.fig3.method", ["random", "dq"], []),
    ],
)
def test_the_pixel_step_and_what_shows_it_depend_on_what_they_show(demo, change, path, value, changed):
    """A file that is chosen anew may be older than the result, so the choice itself stands in the params."""
    other = {"title": "another", "weights": "self", "size": "mini", "grid": 8}
    values = change(change(demo, "autoencoders.other", other), "targets", ["fig3", "table1"])
    before, after = pixel_params(make(values)), pixel_params(make(change(values, path, value)))
    assert [i for i in range(4) if before[i] != after[i]] == changed


def test_pixel_arms_of_one_method_have_names_of_their_own(demo, change):
    values = change(demo, "targets", ["baselines"])
    values = change(values, "experiments.baselines.method", ["dq_no_pixel"])
    plan = make(change(values, "experiments.baselines.pixels", ["none", "mae", "cutmix"]))
    assert len({title for _, title, _ in plan.rows["baselines"]}) == 3


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("experiments.table1.storage.tobias_size", 64, "finer than the 32 pixels"),
        ("experiments.baselines.mixture", "o100_t50", "which only originals have"),
        ("experiments.baselines.keep_ratio", 0.95, "too hard"),
        ("experiments.baselines.trainer", "resnet8_both", "would mix them"),
        ("autoencoders.self_mini.grid", 7, "does not divide the 32 pixels"),
        ("experiments.fig3.method", "dq_no_pixel", "an autoencoder redraws"),
    ],
)
def test_impossible_pixel_steps_and_scores_are_refused(demo, change, path, value, message):
    with pytest.raises(ConfigError, match=message):
        make(change(change(demo, "targets", ["fig3", "table1", "baselines"]), path, value))


def test_weights_without_a_file_and_an_address_are_named(demo, change, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    values = change(demo, "autoencoders.self_mini", {"title": "mine", "weights": "mae.pth"})
    plan = make(values)
    redrawn, mixed = (job_of("pixels", dataset="digits", seed="0", pixels=name) for name in ("mae_self", "cutmix"))
    with pytest.raises(ConfigError, match=r"autoencoders\.self_mini\.weights = 'mae\.pth': there is no such file"):
        check_jobs(plan, [redrawn])
    check_jobs(plan, [mixed, job_of("train", dataset="digits", trainer="resnet8")])
    fetched = make(change(values, "autoencoders.self_mini.url", "https://example.org/mae.pth"))
    check_jobs(fetched, [redrawn])
    (tmp_path / "mae.pth").write_bytes(b"x")
    check_jobs(plan, [redrawn])
    with pytest.raises(ConfigError, match=r"autoencoders\.self_mini\.weights: .*mae\.pth is truncated"):
        check_jobs(plan, [job_of("weights", block="autoencoders", network="self_mini")])


def test_a_larger_keep_ratio_changes_what_ranking_selectors_rank_and_no_other_bins(demo, change):
    def asked(values):
        plan = make(values)
        jobs = [job for job in plan.jobs(plan.targets()) if job.stage.name == "bin"]
        return {job.w.selection: plan.options(job).get("largest") for job in jobs}

    before = asked(demo)
    greedy = {selection for selection, largest in before.items() if largest}
    names = {selection.rpartition("/")[2] for selection in greedy}
    assert names == {"herding", "k_center", "craig", "gradmatch", "greedy"}
    block = {"method": ["herding", "dq_v2"], "keep_ratio": [0.05, 0.35], "table": {"column": "keep_ratio"}}
    values = change(demo, "experiments.mine", block)
    for targets in (demo["targets"], [*demo["targets"], "mine"]):  # the same whether it is made today or not
        after = asked(change(values, "targets", targets))
        changed = [selection for selection in before if after[selection] != before[selection]]
        assert {selection.rpartition("/")[2] for selection in changed} == {"herding"}
        assert [after[selection] for selection in changed] == [{"keep": 0.35, "of": "originals"}] * len(changed)

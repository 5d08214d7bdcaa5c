"""From configuration to unique runs: what is shared, what depends on what, what is refused."""

import ast
import subprocess
import sys

import pytest
from dqv2.plan.needs import needs, threads

from dqv2 import paths
from dqv2.config import ConfigError, load_config
from dqv2.paths import ratio
from dqv2.plan import Plan
from dqv2.stages import STAGES
from tests.conftest import ROOT

VERSIONS = dict.fromkeys(STAGES, 1)


def make(values):
    return Plan(load_config(values), VERSIONS)


def test_runs_that_experiments_share_run_once(demo):
    plan = make(demo)
    asked = sum(len(rows) for rows in plan.rows.values())
    assert asked > len(plan.runs) == len(set(map(plan.metrics_of, plan.runs)))
    shared = {plan.metrics_of(run) for run, *_ in plan.rows["fig4a"]} & {
        plan.metrics_of(run) for run, *_ in plan.rows["controls"]
    }
    assert len(shared) == 4 * len(demo["seeds"])


def test_an_axis_without_effect_makes_no_second_run(demo, change):
    values = change(demo, "experiments.fig5b.arms", [{"method": ["random", "dq_no_pixel"], "tobias_size": [4, 8]}])
    assert len(make(values).rows["fig5b"]) == 2 * len(demo["seeds"])


def test_paths_hold_only_what_a_stage_depends_on():
    fields = {
        paths.EARLY: {"dataset", "backbone", "seed"},
        paths.SALIENCY: {"dataset", "backbone", "seed"},
        paths.RECIPE: {"dataset", "mask", "size", "seed"},
        paths.BINS: {"dataset", "selection", "seed"},
        paths.CORESET: {"dataset", "selection", "keep", "seed"},
    }
    for pattern, expected in fields.items():
        assert {part.split("}")[0] for part in pattern.split("{")[1:]} == expected


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
    assert "DQ_V2, true mask" in {title for _, title, _ in plan.rows["controls"]}
    assert "Full set" in {title for _, title, _ in plan.rows["controls"]}


@pytest.mark.parametrize(
    ("seeds", "own", "step", "chunks"),
    [
        ([0, 1, 2], None, 1, [(0,), (1,), (2,)]),
        ([0, 1, 2], None, 3, [(0, 1, 2)]),
        ([0, 1, 2, 3], None, 3, [(0, 1, 2), (3,)]),
        ([0, 1], [0, 1, 2, 3], 4, [(0, 1), (2, 3)]),
    ],
)
def test_chunks_of_seeds(demo, change, seeds, own, step, chunks):
    values = change(change(demo, "seeds", seeds), "seeds_per_job", step)
    if own:
        values = change(values, "experiments.fig4a.seeds", own)
    assert make(values).chunks == chunks


def test_params_are_plain_sorted_and_narrow(demo):
    plan = make(demo)
    selection = plan.rows["fig4a"][-1].run.selection
    for options in (
        plan.pack_options("digits"),
        plan.early_train_options("digits", "early"),
        plan.augment_options("early"),
        plan.bin_options(selection),
        plan.sample_options(selection),
        plan.train_options("digits", "resnet8"),
    ):
        assert ast.literal_eval(repr(options)) == options, "plain builtins"
        assert list(options) == sorted(options)
        assert "version" in options
        assert not {"title", "seed", "threads"} & set(options)
    assert plan.early_train_options("digits", "untrained").keys() <= {
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
        s, chain = run.selection, []
        masks = {s.mask, plan.config.trainers[run.trainer].fresh_tobias and "early"} - {None}
        backbones = {s.backbone, *(plan.config.masks[mask].backbone for mask in masks)} - {None}
        chain += [plan.early_train_options(s.dataset, backbone) for backbone in sorted(backbones)]
        chain += [plan.augment_options(mask) for mask in sorted(masks)]
        chain += [plan.pack_options(s.dataset), plan.bin_options(s), plan.sample_options(s)]
        chain += [plan.train_options(s.dataset, run.trainer), plan.features_of(s), plan.recipes_of(s)]
        found[plan.metrics_of(run)] = chain
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
        ("jobs_per_gpu", 2),
        ("trainers.resnet8.devices", 4),
        ("needs", {"train": {"mem_mb": 1}}),
    ]:
        assert files_and_params(make(change(demo, path, value))) == before


@pytest.mark.parametrize(
    ("key", "value"), [("on_out_of_memory", "approximate"), ("precision", "bfloat16"), ("compile", True)]
)
def test_how_a_training_runs_is_a_param_only_where_it_is_no_default(demo, change, key, value):
    """So that a new key reruns nothing."""
    plan, changed = make(demo), change(change(demo, f"trainers.resnet8.{key}", value), f"backbones.early.{key}", value)
    for name, block in (("train_options", "resnet8"), ("early_train_options", "early"), ("score_options", "early")):
        before, after = (getattr(p, name)("digits", block) for p in (plan, make(changed)))
        assert key not in before
        assert after == dict(sorted((before | {key: value}).items()))


def test_random_weights_do_not_depend_on_how_others_are_trained(demo, change):
    changed = change(change(demo, "datasets.digits.augment.flip", True), "backbones.untrained.learning_rate", 0.5)
    assert make(changed).early_train_options("digits", "untrained") == make(demo).early_train_options(
        "digits", "untrained"
    )


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
        plan.check_files(packed=plan.datasets, trained=[], pixels=[])


@pytest.mark.parametrize(("value", "text"), [(0.1, "0.1"), (1.0, "1"), (0.125, "0.125"), (1e-4, "0.0001")])
def test_keep_ratio_in_paths(value, text):
    assert ratio(value) == text
    assert float(text) == value


def test_the_plan_imports_neither_torch_nor_pandas():
    code = "import sys, dqv2.plan, dqv2.stages; print({'torch', 'pandas', 'snakemake'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"


def test_the_library_never_imports_snakemake():
    for file in (ROOT / "src/dqv2").rglob("*.py"):
        tree = ast.parse(file.read_text())
        names = [n.name for node in ast.walk(tree) if isinstance(node, ast.Import) for n in node.names]
        names += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        assert not [name for name in names if name.split(".")[0] == "snakemake"], file


def test_what_a_job_asks_for_grows_with_its_attempt_and_its_seeds(demo, change):
    blocks = {"default": {"mem_mb": 1000, "runtime": 7}, "train": {"mem_mb": 3000}}
    config = make(change(demo, "needs", blocks)).config
    assert needs(config, "train") == {"mem_mb": 3000, "runtime": 7, "disk_mb": 2000}
    assert needs(config, "train", seeds=5, attempt=2) == {"mem_mb": 6000, "runtime": 70, "disk_mb": 4000}
    assert needs(config, "bin", attempt=3) == {"mem_mb": 3000, "runtime": 21, "disk_mb": 6000}


def test_cores_of_a_stage_its_own_or_those_of_all(demo, change):
    config = make(change(change(demo, "threads", 3), "needs", {"pack": {"threads": 6}})).config
    assert (threads(config, "pack"), threads(config, "train")) == (6, 3)


def test_needs_of_an_unknown_stage_are_refused(demo, change):
    with pytest.raises(ConfigError, match=r"needs\.trian: there is no such stage; there are: default, .*train"):
        make(change(demo, "needs", {"trian": {"mem_mb": 1}}))


def pixel_params(plan):
    """What the pixel step, figure 3 and table 1 depend on, by experiment."""
    names = [name for name in plan.rows if plan.config.experiments[name].storage]
    shown = [name for name in plan.rows if (p := plan.config.experiments[name].pictures) and p.steps == "pixels"]
    found = [plan.pixels_options("mae"), [plan.storage_options(name) for name in names]]
    return [*found, [plan.picture_options(name) for name in shown], [plan.note(name) for name in shown]]


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
        ("experiments.baselines.mixture", "o100_t50", "known of originals alone"),
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
    with pytest.raises(ConfigError, match=r"autoencoders\.self_mini\.weights = 'mae\.pth': there is no such file"):
        plan.check_files(packed=[], trained=[], pixels=["mae"])
    plan.check_files(packed=[], trained=["digits"], pixels=["cutmix"])
    fetched = make(change(values, "autoencoders.self_mini.url", "https://example.org/mae.pth"))
    fetched.check_files(packed=[], trained=[], pixels=["mae"])
    (tmp_path / "mae.pth").write_bytes(b"x")
    plan.check_files(packed=[], trained=[], pixels=["mae"])

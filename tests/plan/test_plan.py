"""From configuration to unique runs: what is shared, what depends on what, what is refused."""

import ast
from collections import Counter

import pytest

from dqv2.config import ConfigError
from dqv2.paths import ratio
from dqv2.plan.before import check_jobs
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
    assert len(shared) == 4 * len(demo["seeds"])


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
    redrawn, mixed = (job_of("pixels", dataset="digits", seed="0", pixels=name) for name in ("mae_self", "cutmix"))
    with pytest.raises(ConfigError, match=r"autoencoders\.self_mini\.weights = 'mae\.pth': there is no such file"):
        check_jobs(plan, [redrawn])
    check_jobs(plan, [mixed, job_of("train", dataset="digits", trainer="resnet8")])
    fetched = make(change(values, "autoencoders.self_mini.url", "https://example.org/mae.pth"))
    check_jobs(fetched, [redrawn])
    (tmp_path / "mae.pth").write_bytes(b"x")
    check_jobs(plan, [redrawn])
    with pytest.raises(ConfigError, match=r"autoencoders\.self_mini\.weights: .*mae\.pth is cut off"):
        check_jobs(plan, [job_of("weights", block="autoencoders", network="self_mini")])


# -- pre-trained networks -------------------------------------------------------------------------------------------------


def test_no_arm_is_called_dq_without_a_pre_trained_network(paper):
    plan = make(paper)
    for name, rows in plan.rows.items():
        for run, title, method in rows:
            words = title.replace("DQ_V2", "").replace("without pre-trained networks", "")
            if "DQ" not in words or "random cells" in title or run.selection.backbone is None:
                continue
            if plan.config.selectors[run.selection.selector].reads_scores:
                continue  # scores are of trainings
            assert plan.config.backbones[run.selection.backbone].weights, f"{name}: {title} ({method})"
            if run.pixels and plan.config.pixels[run.pixels].backbone:
                assert plan.config.backbones[plan.config.pixels[run.pixels].backbone].weights
    own = {run.selection.backbone for _, rows in plan.rows.items() for run, title, _ in rows if "DQ_V2" in title}
    assert not any(plan.config.backbones[name].weights for name in own), "DQ_V2 does without"


def test_one_pass_of_a_pre_trained_network_is_for_all_seeds(paper):
    plan = make(paper)
    runs = [run for run, _, method in plan.rows["fig2"] if method == "dq_no_pixel" and run.selection.dataset == "cifar10"]
    assert len(runs) == 5
    found = Counter(job.stage.name for job in plan.jobs(map(plan.metrics_of, runs)))
    assert (found["weights"], found["early_train"], found["saliency"]) == (1, 1, 1)
    assert (found["bin"], found["sample"], found["train"]) == (5, 5, 5)


def test_with_a_layer_of_its_own_each_seed_has_its_network(paper):
    plan = make(paper)
    runs = [run for run, _, method in plan.rows["baselines"] if method == "dq_gradient"]
    found = Counter(job.stage.name for job in plan.jobs(map(plan.metrics_of, runs)))
    assert (found["weights"], found["early_train"], found["saliency"]) == (1, 5, 5)


def test_where_a_file_lies_changes_no_result(paper, change):
    def params(**block):
        values = paper
        for key, value in block.items():
            values = change(values, f"backbones.pretrained.{key}", value)
        return options_of(make(values), "early_train", dataset="cifar10", backbone="pretrained")

    before = params(weights="here/w.pth")
    assert before == params(weights="/there/w.pth", url="https://example.org/w.pth", title="another")
    assert (before["stem"], before["weights"]) == ("standard", "w.pth")
    for key, value in {"weights": "v.pth", "input_size": 128, "layers": "by_order", "mean": [0.5] * 3}.items():
        assert before != params(**{"weights": "here/w.pth", "std": [0.5] * 3} | ({"mean": [0.4] * 3} | {key: value}))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("methods.dq.selector", "gradient_bins", "keeps the classes of its weights: set head: fresh"),
        ("methods.grand.backbone", "pretrained", "scores by training from random weights"),
    ],
)
def test_what_a_pre_trained_network_cannot_do_is_refused(paper, change, path, value, message):
    values = change(paper, path, value)
    if path.endswith("grand.backbone"):
        values = change(change(values, "backbones.pretrained.head", "fresh"), "backbones.pretrained.epochs", 2)
    with pytest.raises(ConfigError, match=message):
        make(values)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"model": "resnet18", "stem": "standard"}, "a single point for images of 32 px"),
        ({"model": "swin_tiny_patch4_window7_224", "input_size": 224}, "channels last"),
        ({"model": "mixer_s32_224", "input_size": 224}, "no map"),
        ({"model": "resnet18", "args": {"features_only": True}}, r"backbones\.early on datasets\.digits"),
        ({"model": "densenet121", "input_size": 24}, r"backbones\.early on datasets\.digits"),
    ],
)
def test_a_map_that_is_no_map_is_refused_before_the_first_job(demo, change, block, message):
    """Also where the network itself is there from an earlier run."""
    values = demo
    for key, value in block.items():
        values = change(values, f"backbones.early.{key}", value)
    plan = make(values)
    masks = job_of("augment", dataset="digits", mask="early", size="8", seed="0")
    with pytest.raises(ValueError, match=message):
        check_jobs(plan, [masks])


def test_an_embedding_needs_no_map(demo, change):
    values = change(demo, "backbones.early.model", "swin_tiny_patch4_window7_224")
    plan = make(change(values, "backbones.early.input_size", 224))
    check_jobs(plan, [job_of("early_train", dataset="digits", backbone="early", seed="0")])


# -- seeds apart ----------------------------------------------------------------------------------------------------------


def test_each_coreset_is_trained_on_with_each_seed(demo, change):
    block = {"method": "random", "selection_seeds": [0, 1, 2], "training_seeds": [0, 1], "figure": {"kind": "seeds"}}
    plan = make(change(change(demo, "experiments.mine", block), "targets", ["mine", "fig4a"]))
    runs = [run for run, *_ in plan.rows["mine"]]
    assert len(runs) == 6
    found = Counter(job.stage.name for job in plan.jobs(map(plan.metrics_of, runs)))
    assert (found["sample"], found["train"]) == (3, 6)
    other = next(run for run in runs if (run.seed, run.drawn) == (1, 2))
    assert "/coreset-seed-2/resnet8/seed-1/" in plan.metrics_of(other)
    train = plan.job_making(plan.file("train", "model", plan.axes(other)))
    assert plan.reads(train)["coreset"].endswith("/seed-2/coreset.csv")
    assert plan.columns("mine", plan.rows["mine"][runs.index(other)])["selection_seed"] == 2
    same = {plan.metrics_of(run) for run in runs if run.drawn is None}
    assert same <= {plan.metrics_of(run) for run, *_ in plan.rows["fig4a"]}, "one seed for both is the run of before"


@pytest.mark.parametrize(
    "keys", [{"selection_seeds": [0]}, {"training_seeds": [0], "selection_seeds": [1], "seeds": [0]},
             {"training_seeds": [0], "selection_seeds": [1], "export": {}}]
)  # fmt: skip
def test_seeds_apart_are_given_in_full_and_for_trainings(demo, change, keys):
    with pytest.raises(ConfigError, match="selection_seeds and training_seeds"):
        make(change(demo, "experiments.mine", {"method": "random", "figure": {"kind": "seeds"}} | keys))


# -- readings that are keys -----------------------------------------------------------------------------------------------


def test_a_keep_ratio_may_count_pixels(paper, change):
    """DQ's own: 0.125 of the images without a fifth of their patches are 0.1 of the pixels."""
    values = change(change(paper, "pixels.mae.counts", "pixels"), "pixels.mae.share", 0.2)
    plan = make(values)
    for row in plan.rows["fig4a"]:
        run, _, method = row
        assert f"/keep-{'0.125' if method == 'dq' else '0.1'}/" in plan.metrics_of(run)
        assert plan.columns("fig4a", row)["keep_ratio"] == 0.1
    assert "keep ratio 0.1" in plan.note("fig4a")
    with pytest.raises(ConfigError, match="counts pixels, so keep_ratio asks for 1.25 times"):
        make(change(values, "experiments.fig4a.keep_ratio", 1.0))


def test_a_set_may_have_a_tobias_size_of_its_own(paper, change):
    plan = make(paper)
    sizes = {run.selection.dataset: run.selection.tobias_size for run, *_ in plan.rows["mask_overlap"]}
    assert sizes == {"cub200": 40, "tiny_imagenet": 32}
    asked = make(change(paper, "experiments.table2.tobias_size", 8))
    assert {run.selection.tobias_size for run, _, method in asked.rows["table2"] if method == "dq_v2"} == {8}


def test_a_set_may_be_normalised_by_its_own_statistics(paper, change):
    own = {"mean": [0.49, 0.48, 0.45], "std": [0.25, 0.24, 0.26]}
    values = change(change(paper, "datasets.cifar10.mean", own["mean"]), "datasets.cifar10.std", own["std"])
    before, after = (
        {
            name: options_of(make(v), "early_train", dataset="cifar10", backbone=name)
            for name in ("early", "untrained", "pretrained")
        }
        for v in (paper, values)
    )
    for name in ("early", "untrained"):
        assert after[name] == dict(sorted((before[name] | own).items()))
    assert after["pretrained"] == before["pretrained"], "published weights bring their own"
    with pytest.raises(ConfigError, match="both mean and std"):
        make(change(paper, "datasets.cifar10.mean", own["mean"]))

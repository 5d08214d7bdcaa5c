"""What the paper's arms are: pre-trained networks, controls without, seeds apart, readings that are keys."""

from collections import Counter

import pytest

from dqv2.config import ConfigError
from dqv2.plan.before import check_jobs
from dqv2.weights import hub_name
from tests.conftest import make, merged
from tests.miniatures import save
from tests.plan.counted import job_of, options_of

# -- pre-trained networks ---------------------------------------------------------------------------------------------


def test_no_arm_is_called_dq_without_a_pre_trained_network(paper):
    plan = make(paper)
    for name, rows in plan.rows.items():
        for run, title, method in rows:
            called_dq = "DQ" in title.replace("DQ_V2", "") and "without pre-trained networks" not in title
            if not called_dq or run.selection.backbone is None:
                continue
            if plan.config.selectors[run.selection.selector].reads_scores:
                continue  # scores are of trainings
            assert plan.config.backbones[run.selection.backbone].weights, f"{name}: {title} ({method})"
            if run.pixels and plan.config.pixels[run.pixels].backbone:
                assert plan.config.backbones[plan.config.pixels[run.pixels].backbone].weights
    own = {row.run.selection.backbone for rows in plan.rows.values() for row in rows if "DQ_V2" in row.title} - {None}
    assert not any(plan.config.backbones[name].weights for name in own), "DQ_V2 does without"


def test_one_pass_of_a_pre_trained_network_is_for_all_seeds(paper):
    plan = make(paper)
    runs = [
        run for run, _, method in plan.rows["fig2"] if method == "dq_no_pixel" and run.selection.dataset == "cifar10"
    ]
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
    # A file that is called like one of timm's is none of timm's
    called = params(weights="models/resnet50.mine")["weights"]
    assert called == params(weights="/there/resnet50.mine")["weights"]
    assert hub_name(called) == ""
    assert hub_name(params(weights="resnet50.tv_in1k")["weights"]) == "resnet50.tv_in1k"
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
        ({"model": "mixer_s32_224", "input_size": 224}, "not a map"),
        ({"model": "hiera_tiny_224", "input_size": 64}, "gives no masks: the last features of .* are not a map"),
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


# -- seeds apart ------------------------------------------------------------------------------------------------------


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


# -- readings that are keys -------------------------------------------------------------------------------------------


def test_a_keep_ratio_may_count_pixels(paper, change):
    """DQ's own: 0.125 of the images without a fifth of their patches are 0.1 of the pixels."""
    values = change(change(paper, "pixels.mae.counts", "pixels"), "pixels.mae.share", 0.2)
    plan = make(values)
    for row in plan.rows["fig4a"]:
        run, _, method = row
        assert f"/keep-{'0.125' if method == 'dq' else '0.1'}/" in plan.metrics_of(run)
        assert plan.columns("fig4a", row)["keep_ratio"] == 0.1
    assert "keep ratio 0.1" in plan.note("fig4a")
    with pytest.raises(ConfigError, match=r"counts pixels, so keep_ratio asks for 1\.25 times"):
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


# -- the weights of a coreset's images --------------------------------------------------------------------------------


def weighted(change, values, selector="gradmatch", trainer="resnet50"):
    values = change(values, "selectors.weighted", {"kind": selector, "features": "gradient", "weighted": True})
    values = change(values, "methods.weighted", {"title": "weighted", "selector": "weighted", "mixture": "o100"})
    experiment = {"about": "x", "method": ["gradmatch", "weighted"], "trainer": trainer, "table": {}}
    return change(change(values, "experiments.mine", experiment), "targets", ["mine"])


def test_a_coreset_with_weights_reads_what_they_are_of(paper, change):
    plan = make(weighted(change, paper))
    plain, own = (row.run for row in plan.rows["mine"] if row.run.seed == 0)
    jobs = {run: plan.jobs([plan.metrics_of(run)]) for run in (plain, own)}
    read = {
        run: [other.stage.name for job, others in jobs[run].items() if job.stage.name == "sample" for other in others]
        for run in jobs
    }
    assert read == {plain: ["pack", "bin"], own: ["pack", "bin", "saliency"]}
    samples = {run: next(job for job in jobs[run] if job.stage.name == "sample") for run in jobs}
    assert "weights" not in plan.options(samples[plain])
    assert plan.options(samples[own])["weights"] == {"kind": "gradmatch", "features": "gradient"}
    assert samples[own].stage.detail(plan, samples[own].w).endswith("with weights")


def test_weights_are_for_kinds_that_give_them_and_images_that_are_not_mixed(paper, change):
    with pytest.raises(ConfigError, match="weighted is for the kinds that give weights: craig"):
        make(weighted(change, paper, selector="herding"))
    with pytest.raises(ConfigError, match="weighted gives each image a weight, but trainer resnet50_mixup"):
        make(weighted(change, paper, trainer="resnet50_mixup"))


# -- class budgets, and features of redrawn images --------------------------------------------------------------------


def test_dqas_bins_by_the_reconstructed_images_and_draws_by_the_same_features(paper, change):
    plan = make(change(paper, "targets", ["dqas"]))
    runs = [run for run, _, method in plan.rows["dqas"] if method == "dqas" and run.keep_ratio == 0.1]
    jobs = plan.jobs(map(plan.metrics_of, runs))
    found = Counter(job.stage.name for job in jobs)
    assert (found["redrawn"], found["saliency"], found["bin"], found["sample"]) == (1, 0, 5, 5), "one for all seeds"
    for name in ("bin", "sample"):
        reads = next(plan.reads(job) for job in jobs if job.stage.name == name)
        assert reads["features"] == ["results/paper/tiny_imagenet/redrawn/mae/backbone-pretrained/seed-0/embedding.npy"]
    drawn = next(job for job in jobs if job.stage.name == "redrawn")
    assert plan.options(drawn)["share"] == 0.25
    assert {read.stage.name for read in jobs[drawn]} == {"pack", "early_train", "weights"}
    trained = make(change(change(paper, "targets", ["dqas"]), "selectors.dqas.pixels", "mae_self"))
    jobs = trained.jobs(map(trained.metrics_of, [run for run, _, m in trained.rows["dqas"] if m == "dqas"]))
    assert Counter(job.stage.name for job in jobs)["redrawn"] == 5, "a seed each, as its network of importance is"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("selectors.dqas.pixels", "cutmix", "as redrawn by pixels cutmix, which needs the step mae"),
        ("methods.dqas.mixture", "o100_t50", "a mixture of originals alone, not o100_t50"),
        ("selectors.random.pixels", "mae", "pixels is for selectors that look at features, and random does not"),
        ("selectors.dqas.pixels", "nobodys", "selectors.dqas.pixels = 'nobodys': no such block under pixels"),
    ],
)
def test_redrawn_features_that_cannot_be(paper, change, key, value, message):
    with pytest.raises(ConfigError, match=message):
        make(change(change(paper, "targets", ["dqas"]), key, value))


def test_an_evaluation_crop_repeats_evaluations_alone(paper, change):
    at = {"dataset": "cifar10", "trainer": "resnet50", "seed": "0"}
    plans = [make(paper), make(change(paper, "trainers.resnet50.evaluation_crop", 0.875))]
    trained, evaluated = ([options_of(plan, name, **at) for plan in plans] for name in ("train", "evaluate"))
    assert trained[0] == trained[1]
    assert "crop" not in evaluated[0]
    assert evaluated[1] == evaluated[0] | {"crop": 0.875}


def test_more_bins_than_images_are_told_before_anything_is_trained(tmp_path, change):
    for i in range(9):
        save(tmp_path / "ab"[i % 2] / f"{i}.png", seed=i)
    own = {"title": "own", "kind": "image_folder", "path": str(tmp_path), "size": 32}
    plan = make(change(merged("own_images.yaml"), "datasets.own", own))
    division = job_of("bin", dataset="own", selection="o100_t50/mask-early/tobias-8/backbone-early/bins", seed="0")
    fault = r"selectors\.bins\.n_bins = 10 is more than the 9 training images of datasets\.own: lower it"
    with pytest.raises(ConfigError, match=fault):
        check_jobs(plan, [job_of("pack", dataset="own"), division])
    save(tmp_path / "a" / "10.png", seed=10)
    check_jobs(plan, [job_of("pack", dataset="own"), division])


@pytest.mark.parametrize(
    ("n", "mixture", "fault"),
    [
        (
            9,
            {"originals": 0.05, "tobias": 0.0},
            r"few\.originals = 0\.05 is none of the 9 training images of .*: raise it",
        ),
        (
            9,
            {"originals": 1.0, "tobias": 0.05},
            r"few\.tobias = 0\.05 is none of the 9 training images of datasets\.own",
        ),
        (
            1,
            {"originals": 1.0, "tobias": 1.0},
            "few: a Tobias image needs two images, and there is 1 training image of",
        ),
        (9, {"originals": 0.06, "tobias": 0.06}, None),
    ],
)
def test_a_mixture_of_no_images_is_told_before_anything_is_trained(tmp_path, change, n, mixture, fault):
    for i in range(n):
        save(tmp_path / "a" / f"{i}.png", seed=i)
    own = {"title": "own", "kind": "image_folder", "path": str(tmp_path), "size": 32}
    values = change(merged("own_images.yaml"), "mixtures.few", {"title": "few", **mixture})
    values = change(values, "methods.few", {"title": "few", "selector": "random", "mixture": "few", "mask": "centre"})
    coreset = {"method": "few", "keep_ratio": 0.05, "export": {}}
    plan = make(change(change(values, "datasets.own", own), "experiments.coreset", coreset))
    jobs = [job for job in plan.jobs(plan.exports()) if job.stage.name in ("pack", "bin")]
    if fault is None:
        check_jobs(plan, jobs)
        return
    with pytest.raises(ConfigError, match=rf"there are too few images:\n(.*\n)*  mixtures\.{fault}"):
        check_jobs(plan, jobs)


def trained_on(values, change, keep, **axes):
    """The plan of a random coreset, trained on, and its jobs."""
    block = {"method": "random", "keep_ratio": keep, "table": {}} | axes
    plan = make(change(change(values, "experiments.mine", block), "targets", ["mine"]))
    return plan, plan.jobs([plan.table("mine")])


def test_a_coreset_of_one_image_is_told_before_anything_is_trained(demo, change):
    fault = r"keep_ratio: 0\.001 of the 1,200 training images of datasets\.digits is 1 image, too few to train on"
    with pytest.raises(ConfigError, match=fault):
        check_jobs(*trained_on(demo, change, [0.001, 0.1]))
    check_jobs(*trained_on(demo, change, 2 / 1200))
    pool = change(demo, "mixtures.half", {"originals": 0.5, "tobias": 0.0, "budget": "pool"})
    with pytest.raises(ConfigError, match=r"0\.002 of the 1,200"):
        check_jobs(*trained_on(pool, change, 0.002, mixture="half"))
    check_jobs(*trained_on(pool, change, 0.004, mixture="half"))


def test_a_coreset_of_one_listed_image_is_told_too(tmp_path, change):
    for i in range(9):
        save(tmp_path / "train" / "ab"[i % 2] / f"{i}.png", seed=i)
        save(tmp_path / "test" / "ab"[i % 2] / f"{i}.png", seed=i)
    own = {"title": "own", "kind": "image_folder", "path": str(tmp_path), "size": 32}
    values = change(merged("folder.yaml"), "datasets.own", own)
    with pytest.raises(ConfigError, match=r"0\.1 of the 9 training images of datasets\.own is 1 image"):
        check_jobs(*trained_on(values, change, 0.1))
    check_jobs(*trained_on(values, change, 0.2))


def test_a_coreset_of_one_image_that_is_not_trained_on_is_made(demo, change):
    plan, jobs = trained_on(demo, change, 0.001)
    check_jobs(plan, [job for job in jobs if job.stage.name in ("pack", "bin", "sample")])


@pytest.mark.parametrize(
    ("originals", "tobias", "keep", "selector"),
    [(0.7, 0.1, 0.8, "random"), (0.05, 0.35, 0.4, "random"), (1.0, 0.0, 0.1, "hard")],
)
def test_a_coreset_may_be_all_that_there_is(demo, change, originals, tobias, keep, selector):
    """As the shares are written: 0.7 + 0.1 and 1 - 0.9 are a little less than 0.8 and 0.1 in floating point."""
    values = change(demo, "mixtures.mine", {"originals": originals, "tobias": tobias})
    values = change(values, "selectors.hard", {"kind": "ccs", "score": "el2n", "prune_hardest": 0.9})
    check_jobs(*trained_on(values, change, keep, mixture="mine", selector=selector))
    with pytest.raises(ConfigError, match=r"more images than the pool|more than is left"):
        trained_on(values, change, keep + 0.001, mixture="mine", selector=selector)


@pytest.mark.parametrize(
    ("n", "shares", "selector", "keep", "fault"),
    [
        (1201, (0.5, 0.5), "random", 1.0, r"1 of the 1,201 .* is 1,201 images, and mixture mine .* leave 1,200"),
        (1215, (1.0, 0.0), "ccs", 0.9, r"0\.9 of the 1,215 .* is 1,094 images, and mixture mine .* ccs leave 1,093"),
        (1200, (0.5, 0.5), "random", 1.0, None),
    ],
)
def test_a_pool_that_rounding_makes_too_small_is_told_before_anything_is_trained(
    demo, change, n, shares, selector, keep, fault
):
    values = change(demo, "datasets.digits.train", n)
    values = change(values, "datasets.digits.test", 300)
    values = change(values, "mixtures.mine", dict(zip(("originals", "tobias"), shares, strict=True)))
    plan, jobs = trained_on(values, change, keep, mixture="mine", selector=selector)
    if fault is None:
        check_jobs(plan, jobs)
        return
    with pytest.raises(ConfigError, match=fault):
        check_jobs(plan, [job for job in jobs if job.stage.name in ("pack", "bin", "sample")])

"""The jobs behind a run, what sharing saves, and what is made of several experiments together."""

import pytest

from dqv2.config import ConfigError
from dqv2.plan.count import jobs_behind
from dqv2.stages import all_stages
from tests.conftest import make
from tests.plan.counted import chain_of, counts, job_of, options_of, run_of


def stages(jobs):
    return [job.stage.name for job in jobs]


def test_the_chains_of_dq_and_dq_v2(demo):
    plan = make(demo)
    v2, dq = (chain_of(plan, run_of(plan, "fig4b", name)) for name in ("dq_v2", "dq"))
    selected = ["pack", "early_train", "saliency", "augment", "features", "bin", "sample"]
    assert stages(v2) == [*selected, "train", "evaluate"]
    assert {"autoencoder", "pixels", "weights"} == set(stages(dq)) - set(stages(v2))
    (pixels,) = (reads for job, reads in dq.items() if job.stage.name == "pixels")
    assert {"sample", "early_train", "autoencoder"} <= set(stages(reads for reads in pixels))
    (bins,) = (reads for job, reads in v2.items() if job.stage.name == "bin")
    assert {"saliency", "features"} <= set(stages(bins))


def test_of_a_file_that_no_stage_makes_there_is_no_job(demo):
    plan = make(demo)
    assert plan.job_making("results/demo/digits/early/early/seed-0/model.pt").stage.name == "early_train"
    for file in (
        "results/demo/digits/early/early/seed-0/other.pt",
        "results/other/digits/early/early/seed-0/model.pt",
        "digits/early/early/seed-0/model.pt",
        "paper_figures/fig5b.pdf",  # of the run called paper
        "paper_figures/demo/no_experiment.pdf",
        "results/demo/experiments/no_experiment.csv",
        "data/own/cat/1.jpg",
    ):
        assert plan.job_making(file) is None, file


def test_where_several_stages_have_one_pattern_the_experiment_says_which(demo, paper):
    for plan, figures in ((make(demo), "paper_figures/demo"), (make(paper), "paper_figures")):
        made = {"fig5b": "figure", "fig5a": "pictures", "fig3": "pixel_pictures", "fig1": "diagram", "cost": "cost"}
        for experiment, stage in made.items():
            for kind in ("pdf", "png"):
                job = plan.job_making(f"{figures}/{experiment}.{kind}")
                assert (job.stage.name, job.w.experiment) == (stage, experiment)
            record = plan.job_making(f"{plan.root}/figures/{experiment}/record.json")
            assert (record.stage.name, record.w.experiment) == (stage, experiment)
        for experiment, stage in {"fig5b": "collect", "mask_overlap": "overlap", "table1": "storage"}.items():
            if experiment in plan.rows:
                assert plan.job_making(plan.table(experiment)).stage.name == stage == plan.tabled(experiment)
        assert plan.job_making(f"{figures}/fig5b_table.csv") is None, "it has no table"
        assert plan.job_making(f"{figures}/fig5a_table.csv") is None


def test_of_the_files_of_a_job_each_is_its_own(demo):
    """A path with its wildcards taken out and put in again is the same path, whatever the axes."""
    plan = make(demo)
    jobs = plan.jobs(plan.targets())
    assert len(jobs) > 500
    for job in jobs:
        for output in job.stage.writes:
            assert plan.job_making(plan.file_of(job, output)) == job


def test_jobs_come_in_an_order_in_which_they_can_run_and_read_what_those_before_them_make(demo):
    plan = make(demo)
    done = set()
    for job, reads in plan.jobs(plan.targets()).items():
        assert job not in done
        assert {plan.job_making(file) for file in plan.files_read(job)} - {None} == set(reads) <= done
        assert len(reads) == len(set(reads))
        done.add(job)


def test_the_targets_of_one_experiment_are_its_own(demo):
    plan = make(demo)
    drawn = ["paper_figures/demo/fig5b.pdf", "paper_figures/demo/fig5b.png"]
    assert plan.targets(["fig5b"]) == ["results/demo/experiments/fig5b.csv", *drawn]
    of_each = [file for name in plan.rows for file in plan.targets([name])]
    assert set(of_each) < set(plan.targets())
    assert len(of_each) == len(set(of_each))


def test_sharing_saves_and_never_loses(demo):
    plan = make(demo)
    shared, apart = counts(plan)
    assert set(shared) == set(apart)
    assert all(shared[stage] <= apart[stage] for stage in apart)
    assert shared["train"] == len(plan.runs) > 30 * len(demo["seeds"])
    assert apart.total() > 2 * shared.total()


def test_one_experiment_by_hand(demo, change):
    """cutmix: dq, dq_cutmix, dq_no_pixel: of each seed one coreset, three trainings; one autoencoder for all seeds."""
    shared, apart = counts(make(change(change(demo, "targets", ["cutmix"]), "seeds", [0, 1])))
    assert shared == {
        "pack": 1,
        "weights": 2,  # of features, and of the importance of patches
        "early_train": 2,
        "saliency": 1,  # nothing of a pre-trained network depends on the seed
        "bin": 2,
        "sample": 2,
        "autoencoder": 1,
        "pixels": 4,
        "train": 6,
        "evaluate": 6,
    }
    assert (apart["sample"], apart["pixels"], apart["autoencoder"]) == (6, 4, 2)


def test_the_paper_has_as_many_jobs_as_ever(paper):
    """Sharing brings 9,690 jobs to 2,959: a change of either number is a change of what the paper asks for."""
    shared, apart = counts(make(paper))
    assert (shared.total(), apart.total()) == (2959, 9690)


def test_pictures_and_storage_want_no_training(demo):
    plan = make(demo)
    for name in ("fig3", "fig5a", "table1"):
        assert plan.wanted(name)
        assert not any("metrics.json" in file for file in plan.wanted(name))
    assert plan.wanted("fig1") == []


def test_the_diagram_shows_what_runs_and_asks_for_nothing(demo, change):
    plan = make(change(demo, "targets", ["fig1"]))
    assert plan.runs == []
    assert plan.targets() == ["paper_figures/demo/fig1.pdf", "paper_figures/demo/fig1.png"]
    assert counts(plan)[0].total() == 0
    dq, v2 = plan.kind("fig1", "diagram").lanes()
    assert (dq["title"], v2["title"]) == ("DQ", "DQ_V2")
    networks = [stage["detail"] for stage in dq["stages"] if stage["title"] == "network"]
    assert len(networks) == 2
    assert set(networks) == {"tf_efficientnet_lite0, pre-trained elsewhere"}
    assert not any(stage["title"] == "published weights" for stage in dq["stages"])
    keys = [stage["key"] for stage in v2["stages"]]
    assert keys == stages(chain_of(plan, run_of(plan, "fig1", "dq_v2")))
    details = {stage["key"]: stage["detail"] for stage in v2["stages"]}
    assert "15 bins" in details["bin"]
    assert "10 epochs" in details["early_train"]
    other = make(change(change(demo, "targets", ["fig1"]), "backbones.early.epochs", 3))
    assert "3 epochs" in other.kind("fig1", "diagram").lanes()[1]["stages"][1]["detail"]
    assert all(stage["detail"] for lane in (dq, v2) for stage in lane["stages"])


def test_every_row_of_the_papers_list_is_a_target(paper, demo):
    rows = {
        "fig1",
        "fig2",
        "fig3",
        "fig4a",
        "fig4b",
        "fig5a",
        "fig5b",
        "fig6",
        "table1",
        "table2",
        "table3",
        "table4",
        "tableC",
        "vit",
        "cutmix",
    }
    for values in (paper, demo):
        assert rows <= set(values["targets"])
    assert paper["seeds"] == [0, 1, 2, 3, 4]
    assert paper["trainers"]["resnet50"]["epochs"] == 200


def of_all(plan):
    """What is made of several experiments together."""
    return [file for file in plan.targets() if plan.job_making(file).stage.name in ("claims", "numbers", "page")]


def test_claims_numbers_and_page_come_with_the_experiments_that_they_are_about(demo, change):
    plan = make(demo)
    assert of_all(plan) == [
        "results/demo/claims.csv",
        "results/demo/claims.md",
        "paper_figures/demo/numbers.tex",
        "results/demo/report/index.html",
    ]
    assert of_all(make(change(demo, "targets", ["baselines"]))) == of_all(plan)[2:], "no claim is about them"
    assert of_all(make(change(demo, "targets", ["fig1"]))) == [], "it has no table of runs"
    names = set(options_of(plan, "claims")["names"])
    assert names >= {"fig2", "fig4a", "fig4b", "cutmix", "table2", "fig5b", "table3", "fig6", "tableC", "masks", "cost"}
    assert names >= {"mask_overlap", "cost_jobs"}


def test_experiments_that_test_no_claim_have_numbers_and_a_page(demo, change):
    """As the first example of docs/extend.md, whose experiment is the only target."""
    block = {"method": ["random", "dq_v2"], "keep_ratio": [0.1, 0.2], "figure": {"kind": "line", "x": "keep_ratio"}}
    block["figure"] |= {"hue": "label"}
    plan = make(change(change(demo, "experiments.my_question", block), "targets", ["my_question"]))
    assert of_all(plan) == ["paper_figures/demo/numbers.tex", "results/demo/report/index.html"]
    for name in ("numbers", "page"):
        assert options_of(plan, name)["claims"] == []
        assert job_of(name).stage.reads(plan, None)["claims"] == []
    assert set(options_of(plan, "page")["head"]["files"]) == {"numbers (LaTeX)", "configuration"}
    assert "claims" not in {job.stage.name for job in plan.jobs(plan.targets())}


def test_costs_name_every_stage_of_a_method_and_its_records(demo):
    plan = make(demo)
    rows = options_of(plan, "cost", experiment="cost")["rows"]
    assert rows == options_of(plan, "collect", experiment="cost")["rows"], "the same as those of selection_seconds"
    dq = [row for row in rows if row["columns"]["method"] == "dq"]
    assert [row["columns"]["seed"] for row in dq] == demo["seeds"]
    for row in dq:
        accounts = {stage: account for stage, account, _ in row["records"]}
        assert accounts == {
            "early_train": "early",
            "autoencoder": "early",
            "saliency": "selection",
            "bin": "selection",
            "sample": "selection",
            "pixels": "selection",
            "train": "training",
        }
        files = {stage: file for stage, _, file in row["records"]}
        seed = row["columns"]["seed"]
        assert files["bin"] == f"results/demo/digits/bins/o100/backbone-pretrained/bins/seed-{seed}/record.json"
        assert files["autoencoder"] == "results/demo/digits/autoencoder/self_mini/record.json"


def test_every_stage_has_its_own_record(demo):
    """But where the configuration says which of several stages makes an experiment's files."""
    shared = {frozenset(("figure", "pictures", "pixel_pictures", "diagram", "cost"))}
    shared |= {frozenset(("collect", "overlap", "storage"))}
    records = {}
    for name, each in all_stages().items():
        if "record" in each.writes:
            records.setdefault(each.writes["record"], set()).add(name)
    assert {frozenset(names) for names in records.values() if len(names) > 1} == shared
    plan = make(demo)
    jobs = [job for job in plan.jobs(plan.targets()) if "record" in job.stage.writes]
    assert len({plan.file_of(job, "record") for job in jobs}) == len(jobs)


def test_what_is_counted_is_all_but_fetching_and_drawing(demo):
    plan = make(demo)
    drawn = {"collect", "overlap", "storage", "figure", "table", "pictures", "pixel_pictures", "diagram", "cost"}
    drawn |= {"claims", "numbers", "page", "export"}
    every = plan.jobs(plan.targets())
    assert {job for job in every if job.stage.name not in drawn} == set(jobs_behind(plan)[0])


def test_what_would_be_the_same_file_is_refused(demo, change):
    for block in ({"figure": {"kind": "methods"}}, {"pictures": {}}, {"cost": {}}):
        with pytest.raises(ConfigError, match="would be the same file"):
            make(change(demo, "experiments.fig1", {"method": ["dq"], "diagram": {}, **block}))
    with pytest.raises(ConfigError, match="a diagram makes no runs"):
        make(change(demo, "experiments.fig1", {"method": ["dq"], "diagram": {}, "table": {}}))
    with pytest.raises(ConfigError, match="say what comes of it"):
        make(change(demo, "experiments.fig1", {"method": ["dq"], "diagram": None}))

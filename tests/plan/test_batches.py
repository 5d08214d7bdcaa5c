"""Several arms of a stage in one job: which, in what order, and what does not change by it."""

from collections import Counter

import pytest

from dqv2.config import ConfigError
from dqv2.plan.batches import OPTIONS, batch_of, batches, count_jobs
from dqv2.plan.graph import OUTPUTS, Job, jobs_of
from tests.plan.test_plan import make


def limited(demo, change, **limits):
    return make(change(demo, "arms_per_job", limits))


def arms_of(plan):
    """(stage, seeds, arm) of every batch, and how many batches do it."""
    every = [batch for stage in OPTIONS for batch in batches(plan, stage)]
    return Counter((b.stage, b.seeds, str(sorted(arm.items()))) for b in every for arm in b.arms)


def test_without_a_limit_each_arm_has_a_job_of_its_own(demo, change):
    plan = limited(demo, change)
    assert not arms_of(plan)
    shared, _ = count_jobs(plan)
    assert shared["train"] == len(plan.runs) / len(demo["seeds"])


def test_batches_are_small_enough_and_do_each_arm_once(demo, change):
    plan = limited(demo, change, default=5, train=2)
    assert set(arms_of(plan).values()) == {1}
    for stage in OPTIONS:
        names = [batch.name for batch in batches(plan, stage)]
        assert len(set(names)) == len(names)
        for batch in batches(plan, stage)[len(plan.chunks) :]:
            assert 2 <= len(batch.arms) <= (2 if stage == "train" else 5)
            assert batch.size == len(batch.arms) * len(batch.seeds)
            assert len({arm["dataset"] for arm in batch.arms}) == 1
    few, apart = count_jobs(plan)
    many, apart_too = count_jobs(limited(demo, change))
    assert apart == apart_too
    assert few["train"] < 0.7 * many["train"]
    assert few["sample"] < 0.4 * many["sample"]
    assert few["early_train"] == many["early_train"]


def test_every_job_is_done_by_the_batch_that_makes_its_file(demo, change):
    plan = limited(demo, change, default=4)
    for experiment in plan.rows:
        for jobs in jobs_of(plan, experiment):
            for job, chunk in jobs.items():
                batch = batch_of(plan, job, chunk) if chunk else None
                if batch and batch.arms:
                    made = {plan.under(job.path.replace("{seed}", str(seed))) for seed in chunk}
                    assert made <= set(batch.each(OUTPUTS[job.stage][0]))


def test_arms_of_a_batch_share_their_params_and_kinds_of_input(demo, change):
    """The script gets one set of params, and lists of files that go together line by line."""
    plan = limited(demo, change, default=50)
    found = [batch for batch in batches(plan, "train") if batch.arms]
    assert len(found) > 1
    for batch in found:
        assert batch.options == plan.train_options("digits", batch.arms[0]["trainer"])
        assert len({arm["trainer"] for arm in batch.arms}) == 1
        with_tobias = {plan.selections[arm["dataset"], arm["selection"]].mask is not None for arm in batch.arms}
        assert len(with_tobias) == 1
        recipes = batch.reads(lambda arm: plan.recipes_of(plan.selections[arm.dataset, arm.selection]))
        assert len(recipes) == (batch.size if with_tobias == {True} else 0)


def test_inputs_come_source_by_source_in_the_order_of_the_outputs(demo, change):
    plan = limited(demo, change, default=3)
    batch = next(b for b in batches(plan, "bin") if b.arms and "mask-" in b.arms[0]["selection"])
    read = batch.reads(lambda arm: plan.features_of(plan.selections[arm.dataset, arm.selection]))
    assert len(read) == 2 * batch.size, "originals and Tobias images"
    assert all("/saliency/" in path for path in read[: batch.size])
    assert all("/features/" in path for path in read[batch.size :])
    made = batch.each("{dataset}/bins/{selection}/seed-{seed}/bins.csv")
    for path, output in zip(read[batch.size :], made, strict=True):
        mask = path.split("/mask-")[1].split("/")[0]
        assert f"/mask-{mask}/" in output
        assert path.split("/seed-")[1].split("/")[0] == output.split("/seed-")[1].split("/")[0]


def test_an_appended_experiment_changes_only_last_batches(demo, change):
    before = limited(demo, change, default=4)
    values = change(change(demo, "arms_per_job", {"default": 4}), "experiments.more", {
        "dataset": "digits", "method": ["random"], "keep_ratio": [0.7], "table": {},
    })  # fmt: skip
    after = make(change(values, "targets", [*demo["targets"], "more"]))
    for stage in OPTIONS:
        old, new = ([batch.arms for batch in batches(plan, stage)] for plan in (before, after))
        assert len([arms for arms in old if arms not in new]) <= 1, stage


def test_a_limit_for_no_stage_is_refused(demo, change):
    with pytest.raises(ConfigError, match=r"arms_per_job\.trian: there is no such stage"):
        limited(demo, change, trian=2)


def test_a_batch_says_what_it_does(demo, change):
    plan = limited(demo, change, train=3)
    batch = next(b for b in batches(plan, "train") if b.arms)
    assert batch.name == "train_0_1_2_3_4_batch_1"
    assert batch.message("train {wildcards.trainer}: {wildcards.selection}").endswith(", and 2 more")
    assert batch.place("anything") == "digits/batches/train_0_1_2_3_4_batch_1"
    assert batch_of(plan, Job("train", "no/such/job"), (0,)).name == "train_0"

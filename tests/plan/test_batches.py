"""Several arms of a stage in one job: which, in what order, and what does not change by it."""

import re
from collections import Counter
from types import SimpleNamespace

import pytest
from dqv2.plan.batches import OPTIONS, count_jobs, keep_batches, kept_batches, of_any_arm, of_several_arms
from dqv2.plan.graph import OUTPUTS, jobs_of

from dqv2.config import ConfigError
from tests.plan.test_plan import make


def limited(demo, change, **limits):
    return make(change(demo, "arms_per_job", limits))


def of_stage(plan, stage):
    return [batch for batch in of_several_arms(plan) if batch.stage == stage]


def test_without_a_limit_each_arm_has_a_job_of_its_own(demo, change):
    plan = limited(demo, change)
    assert of_several_arms(plan) == []
    shared, _ = count_jobs(plan)
    assert shared["train"] == len(plan.runs) / len(demo["seeds"])


def test_batches_are_small_enough_and_do_each_arm_once(demo, change):
    plan = limited(demo, change, default=5, train=2)
    found = of_several_arms(plan)
    names = [batch.name for batch in found] + [batch.name for stage in OPTIONS for batch in of_any_arm(plan, stage)]
    assert len(set(names)) == len(names)
    arms = Counter((batch.stage, batch.seeds, str(sorted(arm.items()))) for batch in found for arm in batch.arms)
    assert set(arms.values()) == {1}
    for batch in found:
        assert 2 <= len(batch.arms) <= (2 if batch.stage == "train" else 5)
        assert batch.size == len(batch.arms) * len(batch.seeds)
        assert len({arm["dataset"] for arm in batch.arms}) == 1
    few, apart = count_jobs(plan)
    many, apart_too = count_jobs(limited(demo, change))
    assert apart == apart_too
    assert few["train"] < 0.7 * many["train"]
    assert few["sample"] < 0.4 * many["sample"]
    assert few["early_train"] == many["early_train"]


def test_a_batch_makes_what_the_plan_asks_for_and_nothing_else(demo, change):
    plan = limited(demo, change, default=4)
    asked = {
        plan.under(job.path.replace("{seed}", str(seed)))
        for experiment in plan.rows
        for jobs in jobs_of(plan, experiment)
        for job, chunk in jobs.items()
        for seed in chunk or []
    }
    for batch in of_several_arms(plan):
        assert set(batch.each(OUTPUTS[batch.stage][0])) <= asked


def test_what_is_done_is_in_no_batch(demo, change):
    """So that an arm that is added never makes another again."""
    plan = limited(demo, change, default=4)
    done = {path for batch in of_stage(plan, "train") for path in batch.each(OUTPUTS["train"][0])}
    lost = sorted(path for path in done if "/seed-3/" in path)[:3]
    left = of_several_arms(plan, there=lambda path: path in done and path not in lost)
    assert sum(len(batch.arms) for batch in left if batch.stage == "train") <= len(lost)
    assert [batch for batch in left if batch.stage == "bin"] == of_stage(plan, "bin")


def test_weights_that_were_deleted_are_not_made_again_for_a_new_arm(demo, change):
    plan = limited(demo, change, train=4)
    metrics = {path for batch in of_stage(plan, "evaluate") for path in batch.each(OUTPUTS["evaluate"][0])}
    metrics = metrics or {plan.metrics_of(run) for run in plan.runs}
    assert [batch for batch in of_several_arms(plan, there=metrics.__contains__) if batch.stage == "train"] == []


def test_a_cluster_job_finds_its_batch_by_name(demo, change, tmp_path):
    plan = limited(demo, change, default=4)
    found = of_several_arms(plan)
    keep_batches(found, tmp_path)
    mine = found[-1]
    assert kept_batches(plan, [mine.name, mine.name, "train_0_1_batch_000000"], tmp_path) == [mine]


def test_arms_of_a_batch_share_their_params_and_kinds_of_input(demo, change):
    """The script gets one set of params, and lists of files that go together line by line."""
    plan = limited(demo, change, default=50)
    found = of_stage(plan, "train")
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
    batch = next(b for b in of_stage(plan, "bin") if "mask-" in b.arms[0]["selection"])
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
        old, new = ([batch.arms for batch in of_stage(plan, stage)] for plan in (before, after))
        assert len([arms for arms in old if arms not in new]) <= 1, stage


def test_a_limit_for_no_stage_is_refused(demo, change):
    with pytest.raises(ConfigError, match=r"arms_per_job\.trian: there is no such stage"):
        limited(demo, change, trian=2)


def test_a_batch_says_what_it_does(demo, change):
    plan = limited(change(demo, "seeds", [0, 1, 2, 3]), change, train=3)
    batch = of_stage(plan, "train")[0]
    assert re.fullmatch("train_0_1_2_3_batch_[0-9a-f]{6}", batch.name)
    assert batch.message("train {wildcards.trainer}: {wildcards.selection}").endswith(", and 2 more")
    assert batch.place("anything") == f"digits/batches/{batch.name}"
    (alone,) = of_any_arm(plan, "train")
    assert (alone.name, alone.size) == ("train_0_1_2_3", 4)
    assert alone.message("train {wildcards.trainer}") == "train {wildcards.trainer}"
    assert alone.place("a/seed-{seed}/model.pt") == "a/seed-0_1_2_3"


def test_a_batch_asks_for_the_most_devices_of_its_trainers(demo, change):
    values = change(demo, "trainers.resnet8.devices", 2)
    few, plan = limited(demo, change, train=4), limited(values, change, train=4)
    of_rule = of_any_arm(plan, "train")[0].devices
    assert [of_rule(SimpleNamespace(trainer=name)) for name in ("resnet8", "vit")] == [2, 1]
    for before, after in zip(of_stage(few, "train"), of_stage(plan, "train"), strict=True):
        assert before.arms == after.arms, "no arm moves to another job"
        assert before.devices == 1
        assert after.devices == (2 if "resnet8" in {arm["trainer"] for arm in after.arms} else 1)

"""A few tries of each kind of fault; `make test-faults` makes them all."""

import os
from collections import Counter

import pytest

from tests.faults import base, kept, onfiles, processes, report
from tests.faults.tries import BAD, GOOD, Kept, Outcome, Try, attempt_all

ONE_ARM = {"targets": ["arms"], "experiments": {"arms": {"method": ["random"]}}}
PROCESSES = ("kill -9 | a job | moment 0", "cut | dry run | options.json")


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A run of one arm, an older one, and the plan."""
    folder, plan = tmp_path_factory.mktemp("faults"), base.plan_of(ONE_ARM)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        patch.setenv("DQV2_COMMIT", "a commit")
        base.make_base(folder / "base", plan)
        base.make_base(folder / "older", base.plan_of(ONE_ARM | base.OLDER))
        yield folder, plan


def one_of_each(found):
    """One try of every fault, not all of one stage."""
    chosen, stages = {}, Counter()
    for each in sorted(found, key=lambda each: each.name):
        if each.fault not in chosen or stages[each.stage] < stages[chosen[each.fault].stage] - 1:
            chosen[each.fault] = each
            stages[each.stage] += 1
    return chosen.values()


@pytest.mark.parametrize("kind", [onfiles, kept])
def test_one_of_each_fault_ends_well(sound, tmp_path, kind):
    folder, plan = sound
    outcomes = Kept(tmp_path / "outcomes.jsonl")
    attempt_all(one_of_each(kind.Tries(folder, plan).all()), outcomes, tmp_path / "scratch")
    assert len(outcomes.found) > 7
    assert {name: entry for name, entry in outcomes.found.items() if entry["outcome"] in BAD} == {}
    assert not base.differences(folder / "base", folder / "base")


@pytest.mark.workflow
@pytest.mark.parametrize("name", PROCESSES)
def test_a_process_is_hit_and_snakemake_run_again(sound, tmp_path, name):
    folder, plan = sound
    (tried,) = (each for each in processes.Tries(folder, plan).all() if each.name == name)
    outcome = tried.attempt(tmp_path / "scratch")
    assert outcome.kind in GOOD, outcome.said


def test_a_backup_of_another_configuration_is_refused_before_the_first_job(sound, tmp_path):
    folder, plan = sound
    wanted = "older backup of all its job's files | sample"
    tries = [each for each in onfiles.Tries(folder, plan).all() if each.name.startswith(wanted)]
    outcome = tries[0].attempt(tmp_path)
    assert outcome.kind == "refused"
    assert "coreset.csv is stale: it was made from another" in outcome.said
    assert "dqv2 verify results/faults" in outcome.said


def test_what_goes_wrong_is_told_apart(sound, tmp_path):
    """The harness itself: other bytes, a traceback, what hangs."""
    folder, plan = sound
    job = plan.job_making(plan.file("sample", "coreset", processes.AXES))
    clone = base.clone(folder / "base", tmp_path / "clone")
    name = plan.file_of(job, "coreset")
    base.own(clone / name)
    (clone / name).write_text("other")
    assert base.differences(folder / "base", clone) == [name]
    assert base.here(tmp_path, lambda: 1 // 0)[0] == 70
    assert base.here(tmp_path, lambda: os.read(os.pipe()[0], 1) and 0, limit=1)[0] is None
    report.write(
        tmp_path / "r.md",
        [{"fault": "cut", "stage": "bin", "place": "x", "outcome": kind, "commit": "c"} for kind in (*GOOD, *BAD)],
        ["cut"] * 11,
    )
    text = (tmp_path / "r.md").read_text()
    assert "1 silent wrong, 1 hang, 1 traceback, 1 stuck, 1 unclear, 1 unseen" in text
    assert "Not tried yet: cut (1)." in text
    assert "| cut | 1 | 10 | 1 | 1 | 1 | 1 | 1 | 1 | 1 | 1 | 1 | 1 |" in text


def test_the_harness_goes_on_where_it_was_stopped(tmp_path):
    made = []

    def attempt(scratch):
        made.append(scratch)
        return Outcome("same bytes", "")

    tries = [Try("cut", "bin", str(i), attempt) for i in range(3)]
    attempt_all(tries[:2], Kept(tmp_path / "o.jsonl"), tmp_path / "s")
    attempt_all(tries, Kept(tmp_path / "o.jsonl"), tmp_path / "s")
    assert len(made) == 3

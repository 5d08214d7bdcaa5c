"""Made-up results with known effects get the right verdict of four for every claim, as claims.yaml has them."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from dqv2.config import load_config
from dqv2.paper.claims import ClaimTest, judge, summary
from dqv2.paper.collect import read_plain
from dqv2.paper.reported import read_claims, reported_experiments, reported_values
from dqv2.paper.wording import comparison_text, effect_text, p_text, told, write_claims
from tests.unit.claimed import tables_for
from tests.unit.made_up import method, world

CLAIMS = read_claims()
REPORTED = {name: reported_values(name) for name in reported_experiments()}
ONE_SEED = 1  # too few for any test
HOLDS, OPPOSITE, NEITHER = (tables_for(CLAIMS, sign) for sign in (1, -1, 0))
NOTHING = tables_for(CLAIMS, 1, seeds=ONE_SEED)
FOUR = {"supported": HOLDS, "contradicted": OPPOSITE, "inconclusive": NEITHER, "not tested": NOTHING}


@cache
def judged(verdict):
    """Of the tables in which every claim has this verdict; nobody writes to it."""
    return judge(CLAIMS, FOUR[verdict], "made up")


def verdicts(rows):
    return rows.groupby("claim")["claim_verdict"].first().to_dict()


def experiments_of(claim):
    return {test["experiment"] for test in claim["tests"]}


@pytest.mark.parametrize("verdict", FOUR)
def test_every_comparison_of_every_claim_gets_its_verdict(verdict):
    rows = judged(verdict)
    assert verdicts(rows) == dict.fromkeys(range(1, 11), verdict)
    wrong = rows[rows["verdict"] != verdict]
    assert wrong.empty, wrong[["claim", "says", "dataset", "of", "against", "p_holm", "p_opposite_holm", "why"]]
    assert rows["paper_data"].all()
    assert (rows["p"].isna() == (verdict == "not tested")).all()


@pytest.mark.parametrize("verdict", ["supported", "contradicted"])
def test_the_test_beside_is_of_the_claimed_direction(verdict):
    rows = judged(verdict)
    both = rows[(rows["statistic"] == "mean") & rows["beside_p"].notna()]
    assert set(both["direction"]) >= {"higher", "lower"}
    assert ((both["p"] < 0.5) == (both["beside_p"] < 0.5)).all()


def test_a_p_is_printed_on_its_side_of_the_level():
    assert [p_text(p) for p in (0.0004, 0.0494, 0.0496, 0.05, 0.0504)] == [
        "< 0.001", "0.049", "< 0.050", "0.050", "0.050",
    ]  # fmt: skip


def test_a_contradicted_comparison_says_the_p_that_contradicts_it():
    row = judged("contradicted").iloc[0].to_dict()
    assert told(row)["p_holm_text"] == "1.000 (opposite: < 0.001)"
    assert "opposite" not in told(judged("inconclusive").iloc[0].to_dict())["p_holm_text"]


@pytest.mark.parametrize("turn", range(4))
def test_a_claims_verdict_is_its_own(turn):
    """Neighbours' tables show something else each; in four turns each claim has every verdict."""
    wanted = {claim["claim"]: list(FOUR)[(claim["claim"] + turn) % 4] for claim in CLAIMS}
    tables = {name: FOUR[wanted[claim["claim"]]][name] for claim in CLAIMS for name in experiments_of(claim)}
    assert verdicts(judge(CLAIMS, tables, "made up")) == wanted


def test_what_was_not_run_is_not_tested():
    rows = judge(CLAIMS, {}, "made up")
    assert verdicts(rows) == dict.fromkeys(range(1, 11), "not tested")
    assert rows["why"].str.fullmatch(r"experiment \w+ was not run").all()


COSTS = {"selection_seconds", "memory", "device_memory"}


def test_runs_of_one_coreset_or_of_each_pair_of_seeds_are_no_sample_of_the_pipeline():
    """`selection_seeds: [0]` with several `training_seeds`: the draw of the coreset is not in the spread."""
    table = HOLDS["cutmix"]
    pairs = pd.concat([table.assign(selection_seed=seed) for seed in (0, 1)])
    for shared in (table.assign(selection_seed=0), pairs):
        row = judge([CLAIMS[2]], {"cutmix": shared}, "x").iloc[0]
        assert (row["verdict"], row["why"]) == ("not tested", "its runs share seeds: not independent")
    own = judge([CLAIMS[2]], {"cutmix": table.assign(selection_seed=table["seed"])}, "x")
    assert own["verdict"].tolist() == ["supported"]


def test_arms_of_which_the_experiment_replaces_something_are_not_tested():
    table = HOLDS["table2"]
    tables = HOLDS | {"table2": table.assign(replaces=np.where(table["method"] == "dq_v2", "selector", None))}
    rows = judge(CLAIMS, tables, "made up")
    assert set(rows.loc[rows["claim"] == 4, "verdict"]) == {"not tested"}
    assert rows.loc[rows["claim"] == 4, "why"].str.contains("dq_v2.* whose method is as its block says").all()
    assert (rows.loc[rows["experiment"] == "fig4b", "verdict"] == "supported").all()


def test_seconds_and_memory_change_no_other_verdict():
    """Two runs of equal bytes differ in them alone; here they speak for the claim, and then against it."""
    tables = {name: table.copy() for name, table in HOLDS.items()}
    for table in tables.values():
        for name in COSTS & {*table}:
            table[name] = -table[name]
    before, after = judged("supported"), judge(CLAIMS, tables, "made up")
    steady = ~before["y"].isin(COSTS)
    assert 10 in set(before.loc[steady, "claim"]), "operations and bytes, in the same claim"
    own = ["claim_verdict"]  # of claim 10, whose comparisons they are
    pd.testing.assert_frame_equal(before[steady].drop(columns=own), after[steady].drop(columns=own))
    assert set(before.loc[~steady, "verdict"]) == {"supported"}
    assert set(after.loc[~steady, "verdict"]) == {"contradicted"}
    assert verdicts(before.query("claim < 10")) == verdicts(after.query("claim < 10"))


def test_the_family_is_ten_whatever_was_run():
    table = pd.concat([method("imagenette", "dq", 70, 1), method("imagenette", "dq_cutmix", 67.5, 1)])
    alone = judge([CLAIMS[2]], {"cutmix": table}, "x").iloc[0]
    whole = judge(CLAIMS, {"cutmix": table}, "x").query("claim == 3").iloc[0]
    assert 0.0005 < alone["p"] < 0.05
    assert alone["p_holm"] == whole["p_holm"] == pytest.approx(10 * alone["p"])
    # Holm's last steps: of nine claims with smaller p eight are not in the way; the ninth is about costs
    rows = judge(CLAIMS, HOLDS | {"cutmix": table}, "x").query("claim == 3").iloc[0]
    assert rows["p_holm"] == 2 * rows["p"] == 2 * alone["p"]
    assert rows["verdict"] == "supported"


def test_a_claim_with_a_comparison_that_was_not_made_counts_as_one_without_a_result():
    tables = {name: HOLDS[name] for name in ("cutmix", "table3")}
    rows = judge(CLAIMS, tables, "x")
    one = rows.query("claim == 3").iloc[0]
    assert one["p_holm"] == pytest.approx(10 * one["p"]), "claim 6 lacks ImageNette, and its p is 1"
    assert verdicts(rows)[6] == "not tested"
    assert set(rows.query("claim == 6 and experiment == 'table3'")["verdict"]) == {"supported"}


def test_comparisons_of_a_claim_count_as_one_for_it_and_one_by_one_against_it():
    rows = judge([CLAIMS[3]], HOLDS, "x")
    assert len(rows) == 21
    assert rows["p_holm"].to_numpy() == pytest.approx(np.minimum(10 * rows["p"], 1))
    rows = judge([CLAIMS[3]], OPPOSITE, "x")
    smallest = rows.loc[rows["p_opposite"].idxmin()]
    assert smallest["p_opposite_holm"] == pytest.approx(10 * 21 * smallest["p_opposite"])


def test_one_contradicted_comparison_is_enough_against_a_claim():
    table = HOLDS["table2"].copy()
    worse = (table["method"] == "gc") & (table["keep_ratio"] == 0.3)
    table.loc[worse, "test_accuracy"] += 1000
    rows = judge([CLAIMS[3]], HOLDS | {"table2": table}, "made up")
    assert verdicts(rows) == {4: "contradicted"}
    assert summary([CLAIMS[3]], rows)[0]["counts"] == "21 comparisons, 20 supported, 1 contradicted"


def test_at_least_rules_out_a_loss_of_the_margin_and_a_loss_contradicts_it():
    def verdict(mean, sd):
        table = pd.concat([method("cifar10", "dq", 70, sd), method("cifar10", "dq_no_pixel", mean, sd)])
        rows = judge([CLAIMS[0]], {"fig2": table}, "x")
        return tuple(rows[rows["direction"] == "not lower"][["verdict", "why"]].iloc[0])

    assert verdict(70, 0.1) == ("supported", "not lower by 1 or more")
    assert verdict(69.5, 0.01) == ("supported", "not lower by 1 or more, though lower")
    assert verdict(69.8, 2) == (
        "inconclusive",
        "neither what is claimed nor its opposite can be told from the spread of the seeds",
    )
    assert verdict(60, 0.1) == ("contradicted", "it is lower")


@pytest.mark.parametrize(
    ("spread", "seeds", "verdict", "why"),
    [
        (1.2, 40, "supported", "neither is 4 times the other or more"),
        (6, 40, "contradicted", "one is more than 4 times the other"),
        (1 / 6, 40, "contradicted", "one is more than 4 times the other"),
        (1.2, 5, "inconclusive", "neither what is claimed nor its opposite can be told from the spread of the seeds"),
        (2, 40, "inconclusive", "neither what is claimed nor its opposite can be told from the spread of the seeds"),
        (1.2, 2, "not tested", "too few seeds"),
    ],
)
def test_comparable_variances_have_four_verdicts(spread, seeds, verdict, why):
    about = {"dataset": "imagenette", "seed": range(seeds)}
    values = np.random.default_rng(0).normal(size=(2, seeds))
    values = (values - values.mean(1, keepdims=True)) / values.std(1, ddof=1, keepdims=True)
    arms = [
        pd.DataFrame(about | {"method": method, "test_accuracy": 70 + scale * own})
        for method, scale, own in zip(("dq_v2", "dq"), (spread, 1), values, strict=True)
    ]
    rows = judge([CLAIMS[1]], {"fig4a": pd.concat(arms, ignore_index=True)}, "x")
    found = rows[rows["direction"] == "comparable"].iloc[0]
    assert [found["verdict"], found["why"]] == [verdict, why]
    assert (found["margin"], found["unit"], found["paper_data"]) == (4, "ratio", True)


def test_not_tested_says_what_is_missing():
    assert set(judged("not tested")["why"]) == {"too few seeds"}
    tables = dict(HOLDS)
    tables["cutmix"] = tables["cutmix"][tables["cutmix"]["method"] == "dq"]
    tables["table2"] = tables["table2"][tables["table2"]["keep_ratio"] < 0.35]
    tables["cost_jobs"] = tables["cost_jobs"].assign(device_memory=np.nan)
    tables["fig5b"] = tables["fig5b"][tables["fig5b"]["tobias_size"] < 40]
    tables["fig2"] = tables["fig2"].assign(test_accuracy=lambda rows: rows["method"].map(len))
    rows = judge(CLAIMS, tables, "made up")
    assert [claim for claim, verdict in verdicts(rows).items() if verdict == "not tested"] == [1, 3, 4, 5, 10]
    assert "there are no runs of dataset imagenette, method dq_cutmix" in set(rows["why"])
    assert "there are no runs of dataset imagenette, method dq_v2, tobias_size 40" in set(rows["why"])
    missing = rows[rows["why"].str.endswith("tobias_size 40")].iloc[0]
    assert (missing["of"], missing["against"]) == ("dq_v2, 40", "dq_v2, 4"), "which is which is said of both"
    why = rows[rows["y"] == "device_memory"]["why"].iloc[0]
    assert why == "device_memory of dataset imagenette, method dq_v2, stage whole selection were not measured"
    assert (rows["verdict"][rows["claim"] == 4] == "supported").sum() == 16, "three keep ratios of four, and the trend"
    assert set(rows[rows["claim"] == 1]["why"]) == {
        "the differences of the seeds do not vary",
        "the values of an arm do not vary",
    }


def test_an_experiment_without_a_finished_run_is_not_tested():
    """As collect leaves it where partial: true; there is no accuracy among its columns."""
    planned = HOLDS["fig2"].iloc[:0].drop(columns="test_accuracy")
    rows = judge(CLAIMS, HOLDS | {"fig2": planned}, "made up")
    assert verdicts(rows) == {1: "not tested"} | dict.fromkeys(range(2, 11), "supported")
    assert set(rows["why"][rows["claim"] == 1]) == {"experiment fig2 has no finished run yet"}


def test_other_data_stands_in_and_says_so():
    rows = judge(CLAIMS, tables_for(CLAIMS, 1, datasets=["digits"]), "demo", REPORTED)
    assert set(rows["scale"]) == {"demo"}
    tested = rows[rows["verdict"] != "not tested"]
    assert set(tested["dataset"]) == {"digits"}
    assert not tested["paper_data"].any()
    only = rows[rows["says"].str.contains("CIFAR-10") | (rows["direction"] == "comparable")]
    assert only["verdict"].tolist() == ["not tested"] * 3, "nothing stands in for CIFAR-10, nor ImageNette's variance"
    assert verdicts(rows) == dict.fromkeys(range(1, 11), "supported") | dict.fromkeys((1, 2), "not tested")
    assert "stands in" in summary(CLAIMS, rows)[1]["counts"]
    assert tested["reported_effect"].isna().all(), "the paper reports nothing of digits"


@pytest.mark.parametrize(
    ("claim", "experiment", "dataset", "made"),
    [(1, "fig2", "cifar10", [3, 4]), (2, "fig4a", "imagenette", [6]), (2, "fig4b", "imagenet30", [2])],
)
def test_a_dataset_of_which_the_claim_says_something_else_stands_in_for_no_other(claim, experiment, dataset, made):
    """On CIFAR-10 the mean does not fall without MAE: a rise there, as the paper reports, must not contradict."""
    table = HOLDS[experiment]
    table = table[table["dataset"] == dataset]
    rows = judge(CLAIMS, {experiment: table}, "x").query("claim == @claim")
    tested = rows[rows["verdict"] != "not tested"]
    assert tested["part"].tolist() == made
    assert tested["paper_data"].all()


def test_arms_without_a_seed_in_common_are_independent():
    table = HOLDS["cutmix"].copy()
    table.loc[table["method"] == "dq", "seed"] += 100
    row = judge([CLAIMS[2]], {"cutmix": table}, "x").iloc[0]
    assert (row["test"], row["n_paired"], row["verdict"]) == ("Welch's t", 0, "supported")
    row = judge([CLAIMS[2]], HOLDS, "x").iloc[0]
    assert (row["test"], row["n_paired"], row["beside"]) == ("Student's t, paired by seed", 40, "Welch's t")


def test_a_column_is_subtracted_where_a_claim_says_so():
    rows = judged("supported").query("claim == 10 and minus == 'early_seconds' and dataset == 'food101'")
    (row,) = rows.to_dict("records")
    costs = HOLDS["cost"].query("dataset == 'food101' and method == 'dq'")
    assert row["value_against"] == pytest.approx((costs["selection_seconds"] - costs["early_seconds"]).mean())


def test_an_ambiguous_arm_is_refused():
    with pytest.raises(ValueError, match="more than one run of a seed in cutmix"):
        judge([CLAIMS[2]], HOLDS | {"cutmix": pd.concat([HOLDS["cutmix"]] * 2)}, "x")


def test_faulty_claims_are_refused():
    block = {"says": "", "experiment": "a", "of": {}, "datasets": [], "direction": "higher"}
    with pytest.raises(ValidationError, match="a trend needs 'over'"):
        ClaimTest(**block, statistic="trend")
    with pytest.raises(ValidationError, match="all but a trend needs 'against'"):
        ClaimTest(**block)
    with pytest.raises(ValidationError, match="'not lower' is for means"):
        ClaimTest(**block | {"direction": "not lower"}, against={"method": "dq"}, statistic="variance")


def test_files_say_verdict_effect_interval_and_power(tmp_path):
    tables = HOLDS | {"fig4b": world()["fig4b"]}
    rows = judge(CLAIMS, tables, "demo", REPORTED)
    write_claims(CLAIMS, rows, "demo: digits on photographs", tmp_path / "claims.csv", tmp_path / "claims.md")
    back = read_plain(tmp_path / "claims.csv")
    assert len(back) == len(rows)
    assert {"effect", "low", "high", "p", "p_holm", "p_opposite_holm", "beside_p", "power", "seeds_80"} <= set(back)
    text = (tmp_path / "claims.md").read_text()
    assert text.startswith("# The paper's claims")
    assert "demo: digits on photographs" in text
    for claim in CLAIMS:
        assert f"## {claim['claim']}. " in text
    row = rows[rows["claim"] == 3].iloc[0].to_dict()
    assert comparison_text(row) == "DQ, CutMix in place of MAE against DQ"
    assert effect_text(row).startswith("-100.00 points [-10")
    grids = [[line for line in part.splitlines() if line.startswith("|")] for part in text.split("## ")[2:4]]
    widths = [{line.count("|") - line.count("\\|") for line in grid} for grid in grids]
    assert widths == [{10, 9}, {10}], "claim 2 has effects of the paper's, claim 3 has none"
    for one, other in zip(rows.to_dict("records"), back.to_dict("records"), strict=True):
        assert told(one) == told(other), "the page reads the file"


def test_the_ten_claims_name_what_the_configuration_knows(paper):
    config = load_config(paper)
    assert [claim["claim"] for claim in CLAIMS] == list(range(1, 11))
    blocks = {"method": config.methods, "mask": config.masks, "mixture": config.mixtures, "selector": config.selectors}
    blocks["backbone"] = config.backbones
    for claim in CLAIMS:
        for test in claim["tests"]:
            assert test["experiment"] in {*config.experiments, "cost_jobs"}
            assert set(test["datasets"]) <= set(config.datasets)
            for side in (test["of"], test.get("against", {})):
                for column, known in blocks.items():
                    values = side.get(column, [])
                    assert set(values if isinstance(values, list) else [values]) <= set(known)


def test_reported_values_name_what_the_configuration_knows(paper):
    config = load_config(paper)
    assert sum(map(len, REPORTED.values())) == 43
    for entries in REPORTED.values():
        for entry in entries:
            assert entry["dataset"] in config.datasets
            assert entry.get("method") in {None, *config.methods}
            assert {"mean", "variance"} & set(entry)
            assert entry["place"]
    best = [e for e in REPORTED["table2"] if e["keep_ratio"] == 0.2]
    assert [e["mean"] for e in best] == [52.50, 44.39, 46.69, 53.18, 55.16, 56.77]

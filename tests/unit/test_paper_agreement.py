"""A run held against a published one."""

import re

import pandas as pd
import pytest
from scipy import stats

from dqv2.cli import main
from dqv2.paper.agreement import agreement, corrected, missing_arms, told
from dqv2.paper.collect import write_csv
from tests.unit.made_up import method


def join(*frames):
    return pd.concat(frames, ignore_index=True)


def compared(ours, published):
    return corrected([agreement(ours, published)])[0]


def test_arms_are_compared_by_welch_and_corrected_for_their_number():
    published = join(method("cifar10", "dq", 70, 1.0), method("cifar10", "dq_v2", 75, 1.0))
    ours = join(method("cifar10", "dq", 70.5, 1.2), method("cifar10", "dq_v2", 60, 1.0), method("cifar10", "gc", 1, 1))
    table = compared(ours, published)
    assert table["method"].tolist() == ["dq", "dq_v2"], "an arm that was not published is left out"
    assert table["verdict"].tolist() == ["not told apart", "DIFFERS"]
    x, z = (frame[frame.method == "dq"].test_accuracy for frame in (ours, published))
    assert table["p"].iloc[0] == pytest.approx(stats.ttest_ind(x, z, equal_var=False).pvalue)
    assert table["p_holm"].iloc[1] == pytest.approx(2 * table["p"].iloc[1])
    assert table["effect"].tolist() == pytest.approx([0.5, -15])
    lines = told(table)
    assert lines[0].startswith(
        "not told apart  DQ · cifar10 · 0.1: 70.50 (n = 5), published 70.00 (n = 5), difference +0.50 ["
    )
    assert lines[1].startswith("DIFFERS  DQ_V2")


def test_arms_that_differ_in_their_pixels_alone_are_two():
    frame = join(*(method("cifar10", "dq", mean, 1.0).assign(pixels=step) for step, mean in (("mae", 70), (None, 75))))
    assert compared(frame, frame)["mean"].tolist() == pytest.approx([70, 75], abs=1)


def test_p_is_corrected_for_all_arms_of_a_run_each_once():
    published = join(method("cifar10", "dq", 70, 1.0), method("cifar10", "dq_v2", 75, 1.0))
    ours = join(method("cifar10", "dq", 70.5, 1.2), method("cifar10", "dq_v2", 72.5, 1.2))
    both, again = agreement(ours, published), agreement(ours[ours.method == "dq_v2"], published)
    first, second = corrected([both, again])
    assert first["p_holm"].tolist() == pytest.approx([both["p"][0], 2 * both["p"][1]])
    assert second["p_holm"].tolist() == pytest.approx([2 * both["p"][1]]), "the arm of both tables counts once"
    assert [*first["verdict"], *second["verdict"]] == ["not told apart", "DIFFERS", "DIFFERS"]
    with_more = corrected(
        [
            both,
            again,
            *(
                agreement(join(method("cifar10", "gc", mean, 1.0)), join(method("cifar10", "gc", mean, 1.1)))
                for mean in range(40)
            ),
        ]
    )
    assert with_more[0]["verdict"].tolist() == ["not told apart", "not told apart"], (
        "of 42 arms one is as far by chance"
    )


def test_equal_runs_are_counted_and_a_single_seed_is_tested_only_by_that():
    one = method("cifar10", "dq", 70, 1.0, seeds=1)
    assert agreement(one, one)[["equal", "verdict"]].to_numpy().tolist() == [[1, "equal"]]
    far = agreement(one, one.assign(test_accuracy=20.0))
    assert far["verdict"].tolist() == ["not tested"]
    assert told(far)[0].startswith("not tested (too few seeds)  DQ · cifar10 · 0.1: 70.00 (n = 1), published 20.00")
    many = method("cifar10", "dq", 70, 1.0)
    assert agreement(many, many)[["equal", "verdict", "effect"]].to_numpy().tolist() == [[5, "equal", 0.0]]


def test_runs_that_share_a_coreset_or_a_training_seed_are_no_independent_sample():
    """Each of five coresets with each of five training seeds: Welch's t would count 25 seeds."""
    rows = [method("cifar10", "dq", 70, 1.0).assign(selection_seed=seed) for seed in range(5)]
    crossed = join(*rows)
    table = agreement(crossed, crossed.assign(test_accuracy=lambda rows: rows["test_accuracy"] - 1))
    assert table[["seeds", "verdict", "lacks"]].to_numpy().tolist() == [
        [25, "not tested", "its runs share seeds: not independent"]
    ]
    assert table["effect"].tolist() == pytest.approx([1.0])
    assert table[["low", "high", "p"]].isna().all(axis=None)
    own = join(*(rows[seed][rows[seed]["seed"] == seed] for seed in range(5)))
    assert compared(own, own.assign(test_accuracy=20.0))["verdict"].tolist() == ["DIFFERS"]


def test_whole_numbers_are_printed_as_such_beside_arms_that_have_none():
    arms = join(method("cifar10", "dq", 70, 1.0), method("cifar10", "dq_v2", 75, 1.0, tobias_size=4))
    arms = arms.astype({"tobias_size": "Int64"})
    for frame in (arms, arms[arms["label"] == "DQ_V2"]):
        line = told(agreement(frame, frame))[-1]
        assert line.startswith("equal  DQ_V2 · cifar10 · 0.1 · 4: 75.00 (n = 5)")


def test_an_axis_without_a_value_is_the_same_arm():
    frame = method("cifar10", "dq", 70, 1.0, mask=pd.NA, tobias_size=pd.NA).astype({"tobias_size": "Int64"})
    other = method("cifar10", "dq", 70, 1.0, mask="early", tobias_size=8).astype({"tobias_size": "Int64"})
    both = join(frame, other)
    assert agreement(both, both)["equal"].tolist() == [5, 5]
    assert agreement(frame, other).empty


def test_arms_that_a_run_lacks_are_counted_and_a_broken_table_is_refused():
    dq, both = (
        method("cifar10", "dq", 70, 1.0),
        join(method("cifar10", "dq", 70, 1.0), method("cifar10", "gc", 60, 1.0)),
    )
    assert missing_arms(dq, both) == 1
    assert missing_arms(both, dq) == 0
    for name in ("seed", "test_accuracy"):
        with pytest.raises(KeyError, match=name):
            agreement(dq.drop(columns=name), both)
    with pytest.raises(ValueError, match="seed 4 of an arm appears twice"):
        agreement(join(dq, dq.tail(1)), both)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda text: text.replace(",", ";").encode(), "its only column is '"),
        (lambda text: text.replace(",", ";").replace(".", ",").encode(), "is not a table of runs"),
        (lambda text: re.sub(r",(\d+)\.(\d+)", r',"\1,\2"', text).encode(), "has commas in the numbers of column "),
        (lambda text: text.encode("utf-16"), "is not a table of runs ('utf-8' codec"),
    ],
)
@pytest.mark.parametrize("whose", ["mine", "theirs"])
def test_a_table_that_a_spreadsheet_has_saved_in_another_way_is_not_passed_over(tmp_path, capsys, edit, said, whose):
    for folder in ("mine", "theirs"):
        (tmp_path / folder / "experiments").mkdir(parents=True)
        for name in ("fig3", "fig4a"):
            write_csv(method("cifar10", "dq", 70, 1.0), tmp_path / folder / f"experiments/{name}.csv")
    command = ["compare", str(tmp_path / "mine"), str(tmp_path / "theirs")]
    assert main(command) == 0
    file = tmp_path / whose / "experiments/fig4a.csv"
    written = file.read_text(encoding="utf-8")
    file.write_bytes(written.replace("\n", "\r\n").encode("utf-8-sig"))
    assert main(command) == 0
    file.write_bytes(edit(written))
    capsys.readouterr()
    assert main(command) == 1
    told = capsys.readouterr().err
    assert f"{file} " in told
    assert said in told
    assert "save it as CSV in UTF-8" in told

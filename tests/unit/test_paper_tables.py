"""Tables: the numbers, and that Markdown and LaTeX say the same."""

import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

from dqv2.paper.stats import decimals_of, plus_minus
from dqv2.paper.tables import results_table, tex_escape, write_table
from dqv2.paper.wording import effect_text

SPEC = {"caption": "100 % of R&D_1", "label": "demo"}


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    return pd.DataFrame([
        {"dataset": "digits", "label": label, "keep_ratio": keep, "seed": seed,
         "coreset_size": int(12000 * keep), "test_accuracy": 50 + 5 * i + 40 * keep + rng.normal(0, 0.5)}
        for i, label in enumerate(("DQ_V2", "Random", "DQ (no pixel step)"))
        for keep in (0.1, 0.2) for seed in range(3)
    ])  # fmt: skip


def test_numbers_per_cell(frame):
    table = results_table(frame, SPEC)
    assert table[["label", "keep_ratio"]].to_numpy().tolist()[:3] == [
        ["DQ_V2", 0.1],
        ["DQ_V2", 0.2],
        ["Random", 0.1],
    ]
    cell = frame[(frame.label == "Random") & (frame.keep_ratio == 0.2)].test_accuracy
    row = table[(table.label == "Random") & (table.keep_ratio == 0.2)].iloc[0]
    assert row["mean"] == pytest.approx(cell.mean())
    assert row["sd"] == pytest.approx(cell.std(ddof=1))
    assert row["variance"] == pytest.approx(cell.var(ddof=1))
    assert (row["n"], row["coreset_size"]) == (3, 2400)
    assert table[table.best].label.tolist() == ["DQ (no pixel step)"] * 2
    lowest = results_table(frame, {"better": "lower"})
    assert lowest[lowest.best].label.tolist() == ["DQ_V2"] * 2
    assert not results_table(frame, {"better": None}).best.any()


def test_what_prints_alike_is_equally_good(frame):
    same = frame.assign(test_accuracy=frame.seed + 50.0001 * (frame.label == "DQ_V2") + 50.0 * (frame.label != "DQ_V2"))
    assert results_table(same, {}).best.all()


def test_files_say_the_same(frame, tmp_path):
    spec = SPEC | {
        "reported": [{"dataset": "digits", "label": "Random", "keep_ratio": 0.1, "mean": 50.19, "variance": 0.25}]
    }
    paths = [tmp_path / f"t.{kind}" for kind in ("csv", "md", "tex")]
    write_table(frame, spec, "n = 3 seeds", *paths)
    numbers = pd.read_csv(paths[0])
    assert {"mean", "sd", "variance", "n", "ci95", "coreset_size", "best", "reported"} <= set(numbers.columns)
    markdown = paths[1].read_text()
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in markdown.splitlines() if line.startswith("|")]
    assert cells[0] == ["Method", "10 %", "20 %", "10 % (paper)", "n"]
    assert {len(row) for row in cells} == {5}
    assert cells[-1] == ["Coreset size", "1,200", "2,400", "", ""]
    assert cells[3][3] == "50.19 ± 0.50"
    for row, (_, mine) in zip(cells[2:-1], numbers.groupby("label", sort=False), strict=True):
        assert [float(text.strip("*").split(" ± ")[0]) for text in row[1:3]] == mine["mean"].round(2).tolist()
        assert [text.startswith("**") for text in row[1:3]] == mine["best"].tolist()
    assert "n = 3 seeds" in markdown
    latex = paths[2].read_text()
    assert latex.count(r"\textbf{") == 2
    assert r"DQ\_V2 & " in latex
    assert r"100 \% of R\&D\_1" in latex
    body = latex.split(r"\midrule")[1].strip().splitlines()
    assert {line.count("&") - line.count(r"\&") for line in body} == {4}
    before = [path.read_bytes() for path in paths]
    write_table(frame, spec, "n = 3 seeds", *paths)
    assert [path.read_bytes() for path in paths] == before


def test_leads_over_a_row_are_paired_by_seed(frame, tmp_path):
    from scipy import stats

    spec = SPEC | {"against": ["Random"], "order": ["Random", "DQ_V2", "DQ (no pixel step)"]}
    shared = frame.assign(test_accuracy=frame.test_accuracy + 5 * frame.seed)  # what seeds share is no noise of a lead
    table = results_table(shared, spec)
    values = {key: rows.set_index("seed").test_accuracy for key, rows in shared.groupby(["label", "keep_ratio"])}
    for _, row in table[table.label != "Random"].iterrows():
        lead = values[row.label, row.keep_ratio] - values["Random", row.keep_ratio]
        assert row["minus Random"] == pytest.approx(lead.mean())
        low, high = stats.ttest_1samp(lead, 0).confidence_interval(0.95)
        assert (row["minus Random low"], row["minus Random high"]) == (pytest.approx(low), pytest.approx(high))
        assert row["minus Random p"] == pytest.approx(stats.ttest_1samp(lead, 0).pvalue)
        assert row["minus Random paired"] == 3
    leads = table[table.label != "Random"]
    least = leads["minus Random p"].min()
    assert leads["minus Random p_holm"].min() == pytest.approx(4 * least)
    assert table[table.label == "Random"].filter(like="minus").isna().all(axis=None)
    paths = [tmp_path / f"t.{kind}" for kind in ("csv", "md", "tex")]
    write_table(shared, spec, "n = 3 seeds", *paths)
    grid = [[c.strip() for c in line.strip("|").split("|")] for line in paths[1].read_text().splitlines()[:5]]
    assert grid[0] == ["Method", "10 %", "20 %", "10 % − Random", "20 % − Random", "n"]
    assert grid[2][3:5] == ["", ""]
    assert grid[4][3].startswith(f"+{leads['minus Random'].iloc[2]:.1f} [")
    with pytest.raises(ValueError, match="no row 'Chance'; it has DQ_V2, Random, DQ"):
        results_table(frame, {"against": ["Chance"]})


@pytest.mark.parametrize("seeds", [[0], [0, 1], [7, 8, 9]])
def test_leads_of_arms_with_other_seeds_are_not_called_paired_by_seed_alone(frame, tmp_path, seeds):
    """Two seeds of three are shared, or one or none, where it is Welch's test."""
    files = [tmp_path / f"t.{end}" for end in ("csv", "md", "tex")]
    spec = SPEC | {"against": ["Random"]}
    write_table(frame, spec, "n = 3 seeds", *files)
    assert "interval, paired by seed; " in files[1].read_text()
    ours = frame["label"] == "DQ_V2"
    if seeds == [7, 8, 9]:
        frame = frame.assign(seed=frame["seed"].mask(ours, frame["seed"] + 7))
    else:
        frame = frame[~ours | frame["seed"].isin(seeds)]
    write_table(frame, spec, "n = 1–3 seeds", *files)
    assert "paired by the seeds that both have, Welch's t where these are fewer than two; " in files[1].read_text()


def test_runs_of_one_coreset_have_no_interval(frame):
    """Their spread is that of the training alone, whatever the coreset."""
    reported = [{"dataset": "digits", "label": "Random", "keep_ratio": 0.1, "mean": 50.19}]
    spec = SPEC | {"against": ["Random"], "reported": reported}
    own, shared = (results_table(frame.assign(selection_seed=seed), spec) for seed in (frame["seed"], 0))
    made = ["ci95", "predicted_low", "minus Random low", "minus Random p_holm"]
    assert own[made].notna().any().all()
    assert shared[made].isna().all().all()
    assert shared["minus Random"].equals(own["minus Random"])
    assert set(shared.loc[shared["minus Random"].notna(), "minus Random lacks"]) == {
        "its runs share seeds: not independent"
    }


def test_a_lead_without_an_interval_says_why(frame, tmp_path):
    """In the words of the claims; what varies beside it keeps its interval."""
    from dqv2.paper.compare import means

    one = frame[frame["keep_ratio"] == 0.1].copy()
    chance = one.loc[one["label"] == "Random"].set_index("seed")["test_accuracy"]
    same = one["label"] == "DQ_V2"
    one.loc[same, "test_accuracy"] = one.loc[same, "seed"].map(chance).to_numpy() - 1.7
    files = [tmp_path / f"t.{end}" for end in ("csv", "md", "tex")]
    write_table(one, SPEC | {"against": ["Random"]}, "n = 3 seeds", *files)
    lines = files[1].read_text().splitlines()
    assert lines[2].split("|")[3].strip() == "-1.7 [none]"
    assert "[none]" not in lines[4]
    lacks = means(chance - 1.7, chance).lacks
    assert f"[none]: no interval and no p ({lacks}). n = 3 seeds" in lines[-1]
    assert lacks == "the differences of the seeds do not vary"
    assert f"[none]: no interval and no p ({lacks})" in files[2].read_text()
    numbers = pd.read_csv(files[0])
    assert numbers["minus Random lacks"].fillna("").tolist() == [lacks, "", ""]
    write_table(one[one["seed"] == 0], SPEC | {"against": ["Random"]}, "n = 1 seed", *files)
    assert "[none]: no interval and no p (too few seeds)" in files[1].read_text()
    write_table(frame, SPEC | {"against": ["Random"]}, "n = 3 seeds", *files)
    assert "lacks" not in files[0].read_text() + files[1].read_text()
    assert "[none]" not in files[1].read_text()


def test_rows_are_named_as_they_are_printed(frame):
    names = {"Random": "Chance", "DQ_V2": "Ours"}
    table = results_table(frame, {"against": ["Chance"], "names": names})
    expected = results_table(frame, {"against": ["Random"]})
    np.testing.assert_array_equal(table.filter(like="minus"), expected.filter(like="minus"))
    with pytest.raises(ValueError, match="no row 'Random'; it has Ours, Chance"):
        results_table(frame, {"against": ["Random"], "names": names})
    with pytest.raises(ValueError, match="DQ_V2 and Random of label would both be printed as 'Ours'"):
        results_table(frame, {"names": {"Random": "Ours", "DQ_V2": "Ours"}})
    order = ["Random", "DQ_V2", "DQ (no pixel step)", "CCS"]
    results_table(frame, {"order": order, "names": {"Random": "Chance", "CCS": "Chance"}})  # of which one is not there


def test_latex_escapes_every_special_character():
    assert tex_escape(r"a_b & 5% #1 $x {y} ~ ^ \z ± −") == (
        r"a\_b \& 5\% \#1 \$x \{y\} \textasciitilde{} \textasciicircum{} \textbackslash{}z $\pm$ $-$"
    )


@pytest.mark.parametrize("title", ["[CLS] mask", "*ours"])
def test_latex_does_not_take_a_rows_title_for_an_argument(frame, tmp_path, title):
    r"""\\ and \midrule take what follows in brackets as a length, \\ also a star."""
    files = [tmp_path / f"t.{end}" for end in ("csv", "md", "tex")]
    write_table(frame.replace({"label": {"DQ_V2": title}}), SPEC, "a note", *files)
    assert f"    {{}}{title} & " in files[2].read_text()


def test_columns_follow_the_data_and_gaps_stay_empty(frame, tmp_path):
    two = pd.concat([frame, frame[frame.label == "Random"].assign(dataset="cub")])
    two = two[two.keep_ratio == 0.1]
    table = results_table(two, {})
    assert table.columns[:2].tolist() == ["label", "dataset"]
    assert len(table) == 4
    paths = [tmp_path / f"t.{kind}" for kind in ("csv", "md", "tex")]
    write_table(
        two,
        {"names": {"cub": "CUB-200-2011"}, "order": ["Random", "DQ_V2", "DQ (no pixel step)"]},
        "",
        *paths,
    )
    lines = paths[1].read_text().splitlines()
    assert lines[0] == "| Method | digits | CUB-200-2011 | n |"
    assert lines[2].startswith("| Random |")
    assert lines[3].split("|")[3].strip() == ""


def test_a_mean_over_mixed_arms_is_refused(frame):
    with pytest.raises(ValueError, match="differ in keep_ratio"):
        results_table(frame, {"column": "dataset"})


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="needs pdflatex")
def test_latex_compiles(frame, tmp_path):
    paths = [tmp_path / f"t.{kind}" for kind in ("csv", "md", "tex")]
    write_table(frame, SPEC | {"caption": r"_ & % $ # { } ~ ^ \ < > | ± · × – −"}, "a note", *paths)
    page = r"\documentclass{article}\usepackage{booktabs}\begin{document}\input{t.tex}\end{document}"
    (tmp_path / "page.tex").write_text(page)
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"],
        cwd=tmp_path,
        capture_output=True,
    )
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]
    assert (tmp_path / "page.pdf").exists()


def test_without_columns_each_row_is_one_mean(frame, tmp_path):
    """`column: null` means no columns, however many keep ratios there are to make them of."""
    one = frame[frame["keep_ratio"] == 0.1]
    files = [tmp_path / f"t.{end}" for end in ("csv", "md", "tex")]
    write_table(one, {**SPEC, "column": None, "better": None}, "note", *files)
    lines = files[1].read_text().splitlines()
    assert lines[0] == "| Method | Top-1 accuracy (%) | n |"
    assert "**" not in files[1].read_text()
    with pytest.raises(ValueError, match="would mix different arms"):
        results_table(frame, {"column": None})


@pytest.mark.parametrize(
    ("y", "caption", "said"),
    [
        ("validation_accuracy", None, "demo: Validation accuracy (%): mean ± standard deviation over n seeds"),
        ("selection_seconds", "Costs", "demo: Costs. Selection time (s): mean ± standard deviation over n seeds"),
        ("bin_seconds", "Numbers", "demo: Numbers. Bin time (s): mean ± standard deviation over n seeds"),
        ("megabytes", "A number", "demo: A number. Size (MB): mean ± standard deviation over n seeds"),
        ("gain", "My own", "demo: My own. gain: mean ± standard deviation over n seeds"),
        ("megabytes", "Storage in MB", "demo: Storage in MB. Mean ± standard deviation over n seeds"),
        ("iou", "IoU of masks", "demo: IoU of masks. Mean ± standard deviation over n seeds"),
        ("validation_accuracy", "On the validation split", "the validation split. Mean ± standard deviation over n"),
        ("test_accuracy", "All", "demo: All. Mean ± standard deviation over n seeds"),
    ],
)
def test_a_table_of_another_measure_names_it_with_its_unit(frame, tmp_path, y, caption, said):
    spec = {"label": "demo", "y": y} | ({"caption": caption} if caption else {})
    files = [tmp_path / f"t.{end}" for end in ("csv", "md", "tex")]
    write_table(frame.assign(**{y: frame["test_accuracy"]}), spec, "note", *files)
    lines = files[1].read_text().splitlines()
    assert lines[0] == "| Method | 10 % | 20 % | n |"
    assert said in lines[-1]
    assert tex_escape(said) in files[2].read_text()


@pytest.mark.parametrize(
    ("y", "caption", "head"),
    [
        ("selection_seconds", "", "Selection time (s)"),
        ("test_accuracy", "", "Top-1 accuracy (%)"),
        ("validation_accuracy", "On the validation split", "Validation accuracy (%)"),
    ],
)
def test_the_only_column_is_headed_by_its_measure(frame, tmp_path, y, caption, head):
    one = frame[frame["keep_ratio"] == 0.1].assign(**{y: 1.5})
    files = [tmp_path / f"t.{end}" for end in ("csv", "md", "tex")]
    write_table(one, {"column": None, "y": y, "caption": caption}, "note", *files)
    assert files[1].read_text().startswith(f"| Method | {head} | ")


def test_a_partial_table_without_a_run_is_a_head(tmp_path):
    planned = pd.DataFrame(columns=["dataset", "label", "keep_ratio", "seed"])
    files = [tmp_path / f"t.{end}" for end in ("csv", "md", "tex")]
    write_table(planned, {**SPEC, "column": "keep_ratio", "partial": True}, "PARTIAL: 6 of 6 runs are missing", *files)
    lines = files[1].read_text().splitlines()
    assert lines[0] == "| Method | n |"
    assert "PARTIAL: 6 of 6 runs are missing" in lines[-1]
    assert pd.read_csv(files[0]).empty
    with pytest.raises(ValueError, match="no row to draw"):
        write_table(planned, SPEC, "", *files)


@pytest.mark.parametrize(
    ("sd", "printed"),
    [
        (0.994, "71.55 ± 0.99"),
        (0.996, "71.5 ± 1.0"),
        (1.0, "71.5 ± 1.0"),
        (2.646, "71.5 ± 2.6"),
        (float("nan"), "71.55"),
    ],
)
def test_one_decimal_where_seeds_spread_by_points(sd, printed):
    assert plus_minus(71.549, sd) == printed
    assert plus_minus(71.549, sd, 3).startswith("71.549")


def test_what_rounds_to_zero_has_no_sign():
    row = {"effect": -0.0004, "low": -0.001, "high": 0.0001, "unit": "IoU", "statistic": "mean"}
    assert plus_minus(-0.0004, 0.003, 3) == "0.000 ± 0.003"
    assert plus_minus(-0.0006, 0.003, 3) == "-0.001 ± 0.003"
    assert effect_text(row) == "+0.000 IoU [-0.001, 0.000]"


def test_a_slope_keeps_its_digits_whatever_its_axis():
    row = {"statistic": "trend", "unit": "points a unit of tobias_size"}
    row |= {"effect": 0.01921, "low": 0.00826, "high": 0.03}
    assert effect_text(row) == "+0.0192 points a unit of tobias_size [0.00826, 0.0300]"
    row |= {"unit": "points a unit of keep_ratio", "effect": -6.0, "low": -61.1098, "high": 49.1098}
    assert effect_text(row) == "-6.00 points a unit of keep_ratio [-61.1, 49.1]"


@pytest.mark.parametrize(
    ("ours", "printed"),
    [
        ((0.001, -0.006, 0.0034), "+0.00 s [-0.01, 0.00]"),
        ((-12345.678, -25000.1, 309.12), "-12345.68 s [-25000.10, 309.12]"),
    ],
)
def test_an_interval_has_its_effects_digits(ours, printed):
    row = dict(zip(("effect", "low", "high"), ours, strict=True)) | {"unit": "s", "statistic": "mean"}
    assert effect_text(row) == printed


def test_a_slope_of_hundreds_has_no_bare_point():
    row = {"statistic": "trend", "unit": "points", "effect": 123.4, "low": -0.0, "high": 246.8}
    assert effect_text(row) == "+123 points [0.00, 247]"


def cells_of(frame, spec, tmp_path):
    files = [tmp_path / f"t.{end}" for end in ("csv", "md", "tex")]
    write_table(frame, spec, "", *files)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in files[1].read_text().splitlines()[2:-2]]


def test_decimals_of_a_table_are_by_cell_and_the_configurations_win(tmp_path):
    wide, narrow = [70.0, 71.0, 75.0], [70.0, 70.1, 70.2]
    rows = [
        {"dataset": "digits", "label": label, "keep_ratio": 0.1, "seed": seed, "test_accuracy": value}
        for label, values in (("DQ", wide), ("DQ_V2", narrow))
        for seed, value in enumerate(values)
    ]
    frame = pd.DataFrame(rows)
    assert [row[1] for row in cells_of(frame, {}, tmp_path)] == ["**72.0 ± 2.6**", "70.10 ± 0.10"]
    shown = cells_of(frame, {"decimals": 3}, tmp_path)
    assert [row[1] for row in shown] == ["**72.000 ± 2.646**", "70.100 ± 0.100"]
    spec = {"reported": [{"label": "DQ", "mean": 72.14, "variance": 9.0}]}
    assert cells_of(frame, spec, tmp_path)[0][2] == "72.14 ± 3.00", "the paper's as it prints them"
    spec = {"reported": [{"label": "DQ", "mean": 72.136, "plus_minus": 1.092}, {"label": "DQ_V2", "mean": 73.8}]}
    assert [row[2] for row in cells_of(frame, spec, tmp_path)] == ["72.136 ± 1.092", "73.80"]


def test_the_best_by_its_own_decimals_and_who_prints_like_it():
    def best(*arms):
        means = {"DQ_V2": arms[0], "Random": arms[1]}
        rows = [
            {"dataset": "digits", "label": label, "keep_ratio": 0.1, "seed": seed, "test_accuracy": mean + sd * sign}
            for label, (mean, sd) in means.items()
            for seed, sign in enumerate((-1, 0, 1))
        ]
        return results_table(pd.DataFrame(rows), {}).set_index("label")["best"].to_dict()

    assert best((71.96, 2), (71.98, 0.1)) == {"DQ_V2": True, "Random": True}, "72.0 and 71.98"
    assert best((71.94, 2), (71.98, 0.1)) == {"DQ_V2": False, "Random": True}, "71.9 and 71.98"
    assert best((71.96, 0.2), (71.98, 0.1)) == {"DQ_V2": False, "Random": True}


def test_a_mean_at_a_half_is_the_best_as_printed():
    """70.175 is printed as 70.17, but NumPy rounds it to 70.18: no cell was in bold."""
    rows = [
        {"dataset": "digits", "label": label, "keep_ratio": 0.1, "seed": seed, "test_accuracy": value}
        for label, values in (("DQ", (70.1, 70.0)), ("DQ_V2", (70.15, 70.2)))
        for seed, value in enumerate(values)
    ]
    assert results_table(pd.DataFrame(rows), {})["best"].tolist() == [False, True]
    assert decimals_of(np.float64(0.995)) == decimals_of(0.995)

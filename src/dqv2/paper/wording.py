"""Numbers and verdicts as text, for claims.md, numbers.tex and the page."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dqv2.paper.claims import CONTRADICTED, summary
from dqv2.paper.collect import write_csv, write_text
from dqv2.paper.compare import ALPHA
from dqv2.paper.tables import md_escape, md_row

RULES = (
    "A comparison is supported where its test finds the claimed direction: p, one-sided and corrected by Holm for the "
    'ten claims, is below 0.05; of "at least", where a loss of the margin is ruled out that way. It is contradicted '
    "where the opposite is found at that level, also corrected for the claim's comparisons; inconclusive where neither "
    "is; not tested where there are no such runs, fewer than two seeds (three for a variance) or no variation. A claim "
    "is contradicted if one of its comparisons is, else inconclusive if one is, else not tested if one is, else "
    "supported."
)
CLAIMED = {
    "compared": "Compared",
    "data": "Data",
    "claimed": "Claimed",
    "counts": "n",
    "effect_text": "Effect [95 %]",
    "p_text": "p",
    "p_holm_text": "p, Holm",
    "beside_text": "Beside it [95 %]",
    "outcome": "Verdict",
}
PAPER = {
    "compared": "Compared",
    "data": "Data",
    "reported_text": "The paper's effect",
    "predicted_text": "Predicted by ours [95 %]",
    "replicated": "In it",
    "spread_text": "Spread",
    "power_text": "Power of our n",
    "seeds_text": "Seeds for 80 %",
}
PAPER_RULES = (
    "The paper's effects: whether each lies in Student's prediction interval of ours for five new seeds; the power to "
    "find it, and the seeds that 80 % power takes, at level 0.05 (at 0.005, the first of Holm's ten steps), given the "
    "spread of ours or else the paper's."
)


def number(value: float) -> str:
    """A number with two decimals, a large or small one with three significant digits; "" if missing."""
    if value is None or not np.isfinite(value):
        return ""
    if value != 0 and not 0.005 <= abs(value) < 10_000:
        return f"{value:.3g}"
    return f"{value:z.2f}"


def effect_text(row: dict[str, Any]) -> str:
    """The effect with its unit and interval: "+1.66 points [0.20, 3.12]"."""
    if not np.isfinite(row["effect"]):
        return ""
    return f"{_amount(row, 'effect')} {_interval(row, 'low', 'high')}".rstrip()


def _amount(row: dict[str, Any], name: str) -> str:
    """An effect with its sign and unit."""
    if row["statistic"] == "variance":
        return f"× {_digits(row, name)}"
    return f"{_digits(row, name, '+')} {row['unit']}".rstrip()


def _digits(row: dict[str, Any], name: str, sign: str = "") -> str:
    """An effect or an end of its interval: two decimals, three for an IoU; for a ratio as `number`; for a trend, whose
    size depends on its axis, three significant digits."""
    if row["statistic"] == "variance":
        return number(row[name])
    form = "z#.3g" if row["statistic"] == "trend" else "z.3f" if row["unit"] == "IoU" else "z.2f"
    return f"{row[name]:{sign}{form}}".rstrip(".")


def p_text(value: float) -> str:
    """A p-value: three decimals, "< 0.001" below; "< 0.050" if a significant one would be printed as the level."""
    if value is None or not np.isfinite(value):
        return ""
    text = "0.001" if value < 0.001 else f"{value:.3f}"
    return f"< {text}" if value < 0.001 or value < ALPHA <= float(text) else text


def comparison_text(row: dict[str, Any]) -> str:
    """What is compared: "DQ_V2 against DQ, keep_ratio 0.1"; for a trend also along which axis."""
    text = row["of"] + (f" against {row['against']}" if row["against"] else "")
    text += f" over {row['unit'].split()[-1]}" if row["statistic"] == "trend" else ""
    return text + (f", {row['at']}" if row["at"] else "")


def data_text(row: dict[str, Any]) -> str:
    """The dataset, and whether it stands in for another."""
    title = row.get("dataset_title")
    title = row["dataset"] if not isinstance(title, str) else title
    return title if row["paper_data"] else f"{title} (stands in)"


def told(row: dict[str, Any]) -> dict[str, str]:
    """A comparison as text, with the keys of `CLAIMED`."""
    row = row | {name: "" for name in TEXTS if not isinstance(row[name], str)}
    opposite = f" (opposite: {p_text(row['p_opposite_holm'])})" if row["verdict"] == CONTRADICTED else ""
    counts = f"{row['n_paired']:.0f} seeds" if row["n_paired"] > 0 else f"{row['n']:.0f} / {row['n_against']:.0f}"
    return {
        "compared": comparison_text(row),
        "data": data_text(row),
        "claimed": row["says"],
        "counts": counts if np.isfinite(row["n"]) else "",
        "effect_text": effect_text(row),
        "p_text": p_text(row["p"]),
        "p_holm_text": p_text(row["p_holm"]) + opposite,
        "beside_text": _beside(row),
        "outcome": f"{row['verdict']}: {row['why']}",
    }


TEXTS = ("of", "against", "at", "beside", "unit", "minus", "replicated", "spread_from")  # empty cells of a CSV are ""


def told_paper(row: dict[str, Any]) -> dict[str, str]:
    """The paper's effect for a comparison, with power, as text with the keys of `PAPER`."""
    unit, known = row["unit"], np.isfinite(row["power_spread"])
    seeds = [_seeds(row[name]) for name in ("seeds_80", "seeds_80_first")]
    powers = [f"{100 * row[name]:.0f} %" if np.isfinite(row[name]) else "" for name in ("power", "power_first")]
    said = told(row)
    return {
        "compared": said["compared"],
        "data": said["data"],
        "reported_text": _amount(row, "reported_effect"),
        "predicted_text": _interval(row, "predicted_low", "predicted_high"),
        "replicated": row["replicated"] if isinstance(row["replicated"], str) else "",
        "spread_text": f"{number(row['power_spread'])} {unit} ({row['spread_from']})" if known else "",
        "power_text": f"{powers[0]} ({powers[1]})" if powers[0] else "",
        "seeds_text": f"{seeds[0]} ({seeds[1]})" if seeds[0] else "",
    }


def with_effect(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The comparisons whose effect the paper reports."""
    return [row for row in rows if np.isfinite(row["reported_effect"])]


def _interval(row: dict[str, Any], low: str, high: str) -> str:
    """An interval of the effect, with the digits of `_amount`; "" if missing."""
    if not np.isfinite(row[low]):
        return ""
    return f"[{_digits(row, low)}, {_digits(row, high)}]"


def _beside(row: dict[str, Any]) -> str:
    """The test that stands beside: "Welch's t [0.20, 3.12], p 0.020"."""
    if not np.isfinite(row["beside_p"]):
        return ""
    said = f"{row['beside']} {_interval(row, 'beside_low', 'beside_high')}".rstrip()
    return f"{said}, p {p_text(row['beside_p'])}"


def _seeds(value: float) -> str:
    """A number of seeds; "none" where no number is enough."""
    return "" if np.isnan(value) else f"{value:,.0f}" if np.isfinite(value) else "none"


def write_claims(claims: Sequence[dict[str, Any]], rows: pd.DataFrame, note: str, csv: Path, md: Path) -> None:
    """Write the comparisons to ``csv`` and the claims with their verdicts to ``md``."""
    write_csv(rows, csv)
    found = summary(claims, rows)
    lines = ["# The paper's claims, tested on these runs", "", note, "", "| | claim | verdict | |", "|--:|:--|:--|:--|"]
    lines += [
        f"| {c['claim']} | {md_escape(c['statement'])} | **{c['verdict']}** | {md_escape(c['counts'])} |" for c in found
    ]
    lines += ["", md_escape(RULES), "", md_escape(PAPER_RULES), ""]
    for claim in found:
        lines += [f"## {claim['claim']}. {md_escape(claim['statement'])}", ""]
        place = claim["place"][0].upper() + claim["place"][1:]
        lines += [f"{md_escape(place)} of the paper. **{claim['verdict']}**: {md_escape(claim['counts'])}.", ""]
        lines += _grid(list(CLAIMED.values()), [told(row) for row in claim["rows"]])
        if reported := with_effect(claim["rows"]):
            lines += _grid(list(PAPER.values()), [told_paper(row) for row in reported])
    write_text("\n".join(lines), md)


def _grid(head: Sequence[str], rows: Sequence[dict[str, str]]) -> list[str]:
    lines = [md_row(map(md_escape, head)), "|" + ":--|" * len(head)]
    return [*lines, *(md_row(map(md_escape, row.values())) for row in rows), ""]

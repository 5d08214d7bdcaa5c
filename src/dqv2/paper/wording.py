"""Numbers and verdicts as people read them: in claims.md, in numbers.tex and on the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dqv2.paper.claims import summary
from dqv2.paper.collect import write_csv, write_text
from dqv2.paper.tables import md_escape

RULES = (
    "A comparison is supported where the effect has the claimed direction and p, corrected by Holm for the number of "
    'claims, is below 0.05; "not lower" where a loss of the margin is ruled out that way. Not supported is every other '
    'comparison that was made; "contradicted" says that the opposite is significant. Not tested: no such runs, fewer '
    "than two seeds (three for a variance), or values that do not vary. A claim is supported if all its comparisons "
    "are, not supported if one made is not, else not tested."
)


def number(value: float, places: int = 2) -> str:
    """A number with ``places`` decimals, a large or small one with three digits; "" if missing."""
    if value is None or not np.isfinite(value):
        return ""
    if value != 0 and not 0.005 <= abs(value) < 10_000:
        return f"{value:.3g}"
    return f"{value:.{places}f}"


def effect_text(row: dict[str, Any]) -> str:
    """The effect with its unit and interval: "+1.66 points [0.20, 3.12]"."""
    if not np.isfinite(row["effect"]):
        return ""
    ratio = row["statistic"] == "variance"
    text = f"× {number(row['effect'])}" if ratio else f"{row['effect']:+.2f} {row['unit']}".rstrip()
    return text + (f" [{number(row['low'])}, {number(row['high'])}]" if np.isfinite(row["low"]) else "")


def p_text(value: float) -> str:
    """A p-value: three decimals, "< 0.001" below."""
    if value is None or not np.isfinite(value):
        return ""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def comparison_text(row: dict[str, Any]) -> str:
    """What is compared: "DQ_V2 against DQ, keep_ratio 0.1"."""
    text = row["of"] + (f" against {row['against']}" if row["against"] else f" over {row.get('unit', '').split()[-1]}")
    return text + (f", {row['at']}" if row["at"] else "")


def data_text(row: dict[str, Any]) -> str:
    """The dataset, and whether it stands in for another."""
    title = row.get("dataset_title")
    title = row["dataset"] if not isinstance(title, str) else title
    return title if row["paper_data"] else f"{title} (stands in)"


def told(row: dict[str, Any]) -> dict[str, str]:
    """A comparison as people read it, in the order of a table's columns."""
    return {
        "compared": comparison_text(row),
        "data": data_text(row),
        "claimed": f"{row['statistic']} {row['direction']}",
        "counts": f"{row['n']:.0f} / {row['n_against']:.0f}" if np.isfinite(row["n"]) else "",
        "effect_text": effect_text(row),
        "p_text": p_text(row["p"]),
        "p_holm_text": p_text(row["p_holm"]),
        "paired": f"[{number(row['paired_low'])}, {number(row['paired_high'])}]"
        if np.isfinite(row["paired_low"])
        else "",
        "outcome": f"{row['verdict']}: {row['why']}",
    }


def write_claims(claims: Sequence[dict[str, Any]], rows: pd.DataFrame, note: str, csv: Path, md: Path) -> None:
    """Write the comparisons to ``csv`` and the claims with their verdicts to ``md``."""
    write_csv(rows, csv)
    found = summary(claims, rows)
    lines = ["# The paper's claims, tested on these runs", "", note, "", "| | claim | verdict | |", "|--:|:--|:--|:--|"]
    lines += [
        f"| {c['claim']} | {md_escape(c['statement'])} | **{c['verdict']}** | {md_escape(c['counts'])} |" for c in found
    ]
    lines += ["", md_escape(RULES), ""]
    for claim in found:
        lines += [f"## {claim['claim']}. {md_escape(claim['statement'])}", ""]
        place = claim["place"][0].upper() + claim["place"][1:]
        lines += [f"{md_escape(place)} of the paper. **{claim['verdict']}**: {md_escape(claim['counts'])}.", ""]
        lines += ["| compared | data | claimed | n | effect [95 %] | p | p, Holm | by seed [95 %] | verdict |"]
        lines += ["|:--|:--|:--|--:|--:|--:|--:|--:|:--|"]
        lines += ["| " + " | ".join(map(md_escape, told(row).values())) + " |" for row in claim["rows"]]
        lines += [""]
    write_text("\n".join(lines), md)

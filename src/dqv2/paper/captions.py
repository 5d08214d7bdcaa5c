"""Captions for Snakemake's report: what is shown, on which data, with how many seeds, at which scale and device."""

import re
from pathlib import Path

from dqv2.paper.collect import write_text


def write_caption(file: Path, about: str, note: str, label: str | None) -> None:
    """Write the caption as reStructuredText, for `.. include::` in a caption of workflow/report/.

    file: ``results/<run>/captions/<name>.rst``; only the run "paper" is at the paper's own scale. about: what is shown,
    or empty. note: data, seeds, keep ratio, device. label: the scale, such as "demo", or None.
    """
    own = "Scale: the paper's own." if Path(file).absolute().parents[1].name == "paper" else ""
    scale = f"Scale: {label}, not the paper's own." if label else own
    parts = [f"{about[0].upper()}{about[1:]}." if about else "", f"{note}.", scale]
    write_text("\n\n".join(escape(part) for part in parts if part) + "\n", file)


def escape(text: str) -> str:
    """Escape ``text`` so that reStructuredText prints it literally, on one line."""
    text = re.sub(r"([\\*`|_\[\]<>:])", r"\\\1", text.replace("\n", " "))
    # An escaped space prints nothing, and keeps the line from being a list, comment or title underline
    return text if re.match(r"[^\W_]{5}|[^\W_]+[^\w.)]", text) else rf"\ {text}"

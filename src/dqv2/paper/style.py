"""The style of all figures: one rc context, one colour and marker per method, one way to save."""

import re
import warnings
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.text import Text

from dqv2.runtime.files import atomic_path
from dqv2.runtime.logging import logger

COLUMN, FULL = 3.4, 7.0  # widths of a paper's column and page, inches
DPI = 300
INK, GREY, PALE = "#222222", "#6B6B6B", "#D9D9D9"
SMALL = 7.0  # points: value labels, notes

RC = {
    "font.family": "STIXGeneral",  # both families come with matplotlib, so every machine draws the same
    "mathtext.fontset": "stix",
    "text.parse_math": False,  # names come from a config: "_" and "$" are printed as they are
    "legend.frameon": False,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.6,
    "xtick.major.size": 0,
    "ytick.major.size": 2.5,
    "ytick.major.width": 0.7,
    "figure.dpi": DPI,  # text is measured at the dpi it is drawn at: hinting changes its width
    "savefig.dpi": DPI,
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
}
RC |= dict.fromkeys(("font.size", "axes.titlesize", "axes.labelsize"), 9)
RC |= dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "legend.fontsize"), 8)
RC |= dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK)


class Look(NamedTuple):
    """A method's colour (hex) and marker (matplotlib's letter)."""

    colour: str
    marker: str


# Okabe and Ito's colours; a family (DQ blue, DQ_V2 vermilion) is told apart by lightness and marker, so that
# it is also legible in grey.
KNOWN = {
    "random": Look("#7F7F7F", "X"),
    "grand": Look("#CC79A7", "^"),
    "gradmatch": Look("#009E73", "v"),
    "gc": Look("#E69F00", "P"),
    "dq": Look("#0072B2", "s"),
    "dq_no_pixel": Look("#56B4E9", "D"),
    "dq_cutmix": Look("#003B5C", "h"),
    "dq_v2": Look("#D55E00", "o"),
    "dq_v2_true": Look("#6E2C00", "p"),
    "dq_v2_centre": Look("#F0A878", "d"),
    "dq_v2_random": Look("#B79F8E", "<"),
    "dq_v2_shuffled": Look("#C9A800", ">"),
    "full": Look("#000000", "*"),
}
# Other names of the same methods, as `_key` has them
ALIASES = {
    "dqv2": "dq_v2",
    "graphcut": "gc",
    "full_set": "full",
    "dq_(no|without)_(mae|pixel_step)": "dq_no_pixel",
    "dq_(with_)?cutmix(_.*)?": "dq_cutmix",
    r"dq_v2_(true|centre|random|shuffled)_mask": r"dq_v2_\1",
}
# For names not known here: Okabe and Ito's others, then Tol's muted, dark enough for white paper.
OTHERS = ("#332288", "#117733", "#AA4499", "#999933", "#44AA99", "#882255", "#88CCEE", "#DDCC77", "#661100")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "d", "p", "h", "<", ">")
# For an axis that is no method (shares, backgrounds, backbones): in order of position, and in no method's colour.
AXIS = ("#332288", "#44AA99", "#AA4499", "#999933", "#882255", "#117733", "#88CCEE", "#661100")
SEQUENCE = tuple(map(Look, AXIS, MARKERS))


def _key(name: str) -> str:
    """Config name and printed name of one method to one key: "DQ (no pixel step)" and "dq_no_pixel" agree."""
    key = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    found = (hit.expand(known) for alias, known in ALIASES.items() if (hit := re.fullmatch(alias, key)))
    return next(found, key)


def looks(names: Iterable[str]) -> dict[str, Look]:
    """The look of each name; known methods look the same in every figure.

    Other names get a look by their checksum; if two of them would share a colour, the later one takes the next.
    """
    out, taken = {}, {}
    for name in dict.fromkeys(names):
        key = _key(name)
        if key in KNOWN:
            out[name] = KNOWN[key]
            continue
        slot = zlib.crc32(key.encode())
        for step in range(len(OTHERS)):
            colour = OTHERS[(slot + step) % len(OTHERS)]
            if taken.setdefault(colour, key) == key:
                break
        out[name] = Look(colour, MARKERS[slot // len(OTHERS) % len(MARKERS)])
    return out


@contextmanager
def context() -> Iterator[None]:
    """The rc settings in which figures are made and saved."""
    with mpl.rc_context(RC), warnings.catch_warnings():
        # Matplotlib says it of each character, `save` of the figure
        warnings.filterwarnings("ignore", r"Glyph \d+ .*missing from")
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure in inches, on the Agg canvas and outside pyplot: no global state, no display."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03, wspace=0.04, hspace=0.04)
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, pdf: Path, png: Path) -> None:
    """Write the figure as PDF and PNG (`DPI` dots per inch), atomically; the same figure gives the same bytes. Warns of
    texts with characters that the font lacks."""
    known = get_font(findfont(RC["font.family"])).get_charmap()
    texts = {each.get_text() for each in figure.findobj(Text) if each.get_visible()}
    if lacking := sorted(text for text in texts if any(ord(letter) not in known for letter in "".join(text.split()))):
        logger.warning("%s: the font has no signs for some characters of %r, and draws boxes", png, lacking[0])
    for file, kind, metadata in (
        (pdf, "pdf", {"CreationDate": None, "Producer": None, "Creator": None}),
        (png, "png", {"Software": None}),
    ):
        with atomic_path(file) as draft, context():
            figure.savefig(draft, format=kind, dpi=DPI, metadata=metadata)

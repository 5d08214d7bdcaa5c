"""The kinds of figures: which functions arrange and paint each. Imports neither pandas nor matplotlib.

The choices of the configuration and `dqv2.paper.figures` use `FIGURES`. See docs/code.md to add a kind.
"""

from dataclasses import dataclass

from dqv2.declared import by_name, check_choices, check_functions


@dataclass(frozen=True)
class FigureKind:
    """A kind of figure made from a table; functions are `module:function`, imported when they are used."""

    name: str  # the `kind` of the configuration's figures
    x: str  # the column along x if the spec names none
    paint: str  # (axes, frame, xs, hues, spec) -> handles for the legend
    marks: str  # what its points, lines, whiskers, bars or bands are, for the note; {of} and {spread} are filled in
    columns: bool = False  # whether each hue has its own column, so that several need the page's full width
    prints: tuple[str, ...] = ()  # the keys about printed numbers that it reads: values, decimals
    arrange: str | None = None  # (frame, spec) -> (frame, spec), which fills in keys that the spec does not have

    def __post_init__(self) -> None:
        entry = f"figure kind {self.name}"
        check_functions(entry, paint=self.paint, arrange=self.arrange)
        check_choices(entry, "prints", self.prints, ("values", "decimals"))
        try:
            self.marks.format(of="", spread="")
        except (KeyError, IndexError, ValueError) as error:
            raise ValueError(f"{entry}: marks may have {{of}} and {{spread}} in braces, got {self.marks!r}") from error


SEEDS, MIXING = "dqv2.paper.seeds:split", "dqv2.paper.figures:mixing"
PAINT_COLUMNS, PAINT_LINES = "dqv2.paper.figures:paint_columns", "dqv2.paper.figures:paint_lines"
COLUMNS = "points: seeds · dash: mean · whiskers: ± 1 standard deviation over {of}"
LINES = "small points: seeds · line: mean · {spread}: ± 1 standard deviation over {of}"  # whiskers, or a band
BARS = "bars: the standard deviation that each adds, of {of}"
FIGURES = by_name(
    FigureKind("methods", "label", PAINT_COLUMNS, COLUMNS, columns=True, prints=("values", "decimals")),
    FigureKind("line", "tobias_size", PAINT_LINES, LINES),
    FigureKind("seeds", "label", "dqv2.paper.seeds:paint", BARS, prints=("decimals",), arrange=SEEDS),
    FigureKind("mixing", "tobias", PAINT_LINES, LINES, arrange=MIXING),
)

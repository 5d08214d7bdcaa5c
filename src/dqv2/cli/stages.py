"""The versions of the stages, and the lock that ties them to their sources.

Snakemake cannot tell which code changes affect results. So each stage has a version among its params, and
docs/stages.md records a hash of its sources: its module and, transitively, the modules of this library that it imports,
without comments and docstrings. A test compares the hashes. When one differs:

dqv2 stages raise train    results change: raise the version; train and all that follows run again
dqv2 stages accept         results stay the same (a refactoring): record the new hashes
dqv2 stages                print the table of stages
"""

import argparse
import ast
import hashlib
import io
import re
import tokenize
from functools import cache
from pathlib import Path
from typing import NamedTuple

from dqv2.declared import markdown, require_docstrings
from dqv2.stages import all_stages

LIBRARY = Path(__file__).parents[1]
LOCK = Path("docs/stages.md")
REFERENCE = re.compile(r"dqv2(\.\w+)+(:\w+)?")
HEAD = """# The stages

Made by `dqv2 stages accept` from the modules of `src/dqv2/stages/`, one per stage. [stage.md](stage.md) shows how to
add one. Patterns are below `results/<run>/` unless they begin with {figures} or {root}. Each job also writes a record.
The last column is the hash of a stage's sources; a test checks that it belongs to the version. Below are the kinds of
selectors and the sources of masks; [code.md](code.md) shows how to add one.

"""


def add_to(commands: argparse._SubParsersAction) -> None:
    """Add the subcommand."""
    about = "list the stages, and record changes of their sources"
    parser = commands.add_parser("stages", help=about, description=__doc__)
    parser.add_argument("action", nargs="?", choices=["show", "accept", "raise"], default="show")
    parser.add_argument("names", nargs="*", metavar="STAGE", help="stages whose version to raise")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    require_docstrings()
    if strangers := sorted(set(args.names) - set(all_stages())):
        raise ValueError(f"there is no stage {strangers[0]}; there are: {', '.join(all_stages())}")
    if (args.action == "raise") != bool(args.names):
        raise ValueError("raise needs names of stages, and only raise takes them: dqv2 stages raise train")
    if args.action == "show":
        print(table())
        return 0
    for name in args.names:
        _raise(name)
    LOCK.write_text(page(), encoding="utf-8")
    print(f"wrote {LOCK}")
    return 0


def _raise(name: str) -> None:
    """Increment the version in a stage's module."""
    path, each = module_of(name), all_stages()[name]
    text = path.read_text(encoding="utf-8")
    type(each).version += 1
    line = f"    version = {each.version}"
    text = re.sub(r"^    version = \d+\n", "", text, count=1, flags=re.M)
    text = re.sub(r"^(    title = .*)$", rf"\1\n{line}", text, count=1, flags=re.M)
    path.write_text(text, encoding="utf-8")
    print(f"{name}: version {each.version}")


def page() -> str:
    """The whole of docs/stages.md: the stages, and the other tables of the library."""
    from dqv2.select import table as selectors
    from dqv2.semantic import table as masks

    parts = [HEAD + table(), "## Selectors", selectors.as_markdown(), "## Mask sources", masks.as_markdown()]
    return "\n\n".join(parts) + "\n"


def table() -> str:
    """The table of stages, in Markdown."""
    rows = []
    for name, each in all_stages().items():
        about = " ".join((type(each).__doc__ or each.title).split()).partition(". ")[0].rstrip(".")
        writes = "<br>".join(f"`{pattern}`" for output, pattern in each.writes.items() if output != "record")
        rows.append([name, str(each.version), about, writes, "yes" if each.model else "", source_hash(name)])
    return markdown(["stage", "version", "what it is", "writes", "network", "sources"], rows)


def recorded() -> dict[str, tuple[int, str]]:
    """Stage -> version and hash, as recorded in docs/stages.md."""
    rows = [[cell.strip() for cell in line.split("|")] for line in LOCK.read_text(encoding="utf-8").splitlines()]
    return {row[1]: (int(row[2]), row[6]) for row in rows if len(row) == 8 and row[2].isdigit()}


def changed() -> list[str]:
    """The stages whose version or sources differ from what is recorded."""
    known = recorded()
    return [name for name, each in all_stages().items() if known.get(name) != (each.version, source_hash(name))]


def module_of(name: str) -> Path:
    """The module of a stage."""
    return LIBRARY / "stages" / f"{name}.py"


def source_hash(name: str) -> str:
    """Hash of what a stage does: its code and that of the modules it imports, without comments and docstrings."""
    digest = hashlib.sha256()
    for path in sorted(_closure(module_of(name)), key=lambda path: path.relative_to(LIBRARY).as_posix()):
        digest.update(path.relative_to(LIBRARY).as_posix().encode())
        digest.update(_read(path).code.encode())
    return digest.hexdigest()[:16]


class Source(NamedTuple):
    """The parts of a module that its hash and imports depend on."""

    code: str  # its lines without comments, docstrings and empty lines; the same on every version of Python
    imports: tuple[str, ...]  # dotted names of the modules that it imports, and of what it imports from them
    references: tuple[str, ...]  # the modules named in its strings, as `module` or `module:function`


def _read(path: Path) -> Source:
    return _parse(path.read_text(encoding="utf-8"))


@cache
def _parse(text: str) -> Source:
    lines = text.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    imports, references = [], []
    for node in ast.walk(ast.parse(text)):
        body = getattr(node, "body", None)
        first = body[0] if isinstance(body, list) and body else None
        value = first.value if isinstance(first, ast.Expr) else None
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            lines[first.lineno - 1 : first.end_lineno] = [""] * (first.end_lineno - first.lineno + 1)
        if isinstance(node, ast.Import):
            imports += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imports += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and REFERENCE.fullmatch(node.value):
            references.append(node.value.partition(":")[0])
    return Source("\n".join(line.rstrip() for line in lines if line.strip()), (*imports,), (*references,))


def _closure(module: Path) -> set[Path]:
    seen: set[Path] = set()
    todo = [module]
    while todo:
        path = todo.pop()
        if path not in seen:
            seen.add(path)
            todo += _imported(path)
    return seen


def _imported(path: Path) -> list[Path]:
    """The modules of this library that one imports, and those that its tables name if it uses `declared.load`."""
    names = _read(path).imports
    found = [module for name in names if (module := _module(name))]
    return found + ([named for table in found for named in _named(table)] if "dqv2.declared.load" in names else [])


def _named(table: Path) -> list[Path]:
    """The modules of this library that strings name."""
    return [module for name in _read(table).references if (module := _module(name))]


def _module(name: str) -> Path | None:
    package, *parts = name.split(".")
    path = LIBRARY.joinpath(*parts)
    files = (path.with_suffix(".py"), path / "__init__.py") if package == "dqv2" and parts else ()
    return next((file for file in files if file.is_file()), None)

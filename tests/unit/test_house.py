"""How the library is built: no circle of imports, nothing heavy where the Snakefile is read, no file too long."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

LIBRARY = ROOT / "src/dqv2"
LINES = 400


def imports(path):
    """The files of the library that one imports: anywhere in it, in functions and for type checkers too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {file for alias in node.names if (file := file_of(alias.name))}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are absolute"
            for alias in node.names:  # a module of the package, else a name in it
                found |= {file_of(f"{node.module}.{alias.name}") or file_of(node.module)} - {None}
    return found - {path}


def file_of(module):
    """The file of a module of the library."""
    if module.partition(".")[0] != "dqv2":
        return None
    path = LIBRARY.joinpath(*module.split(".")[1:])
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def circle(graph):
    """One circle of a graph, or nothing."""
    done = set()

    def visit(node, path):
        if node in path:
            return [*path[path.index(node) :], node]
        if node not in done:
            for after in sorted(graph[node]):
                if found := visit(after, [*path, node]):
                    return found
            done.add(node)
        return []

    return next((found for node in sorted(graph) if (found := visit(node, []))), [])


def test_no_file_imports_what_imports_it():
    """Counted with imports in functions and for type checkers; a table's "module:function" is no import."""
    graph = {path: imports(path) for path in LIBRARY.rglob("*.py")}
    assert len(graph) > 100
    assert sum(map(len, graph.values())) > len(graph)
    found = circle(graph)
    assert not found, " imports ".join(path.relative_to(LIBRARY).as_posix() for path in found)


def test_a_circle_is_found():
    assert circle({1: {2}, 2: {3}, 3: {2}}) == [2, 3, 2]
    assert circle({1: {2, 3}, 2: {3}, 3: set()}) == []


@pytest.mark.parametrize("folder", ["src", "workflow", "tests", "benchmarks", "envs"])
def test_no_file_is_too_long(folder):
    files = [file for end in ("py", "smk") for file in (ROOT / folder).rglob(f"*.{end}")]
    files += [ROOT / "Snakefile"]
    lengths = {file: len(file.read_text(encoding="utf-8").splitlines()) for file in files}
    assert {str(file.relative_to(ROOT)): n for file, n in lengths.items() if n > LINES} == {}


def without_encoding(path):
    """The lines on which a file reads or writes text in whatever encoding its machine has."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or "encoding" in {keyword.arg for keyword in node.keywords}:
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        modes = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
        text = name == "open" and (
            not (node.args or node.keywords) or any(re.fullmatch("[rwax]t?", str(mode)) for mode in modes)
        )
        if text or (isinstance(node.func, ast.Attribute) and name in ("read_text", "write_text")):
            yield f"{path.relative_to(ROOT)}:{node.lineno}"


@pytest.mark.parametrize("folder", ["src", "workflow", "benchmarks", "envs"])
def test_text_has_an_encoding(folder):
    """Ruff looks too (PLW1514), but only where it knows that something is a path."""
    assert [place for path in (ROOT / folder).rglob("*.py") for place in without_encoding(path)] == []


def loaded_after(code):
    """What is imported when the code has run."""
    code += "\nimport sys\nprint(*sorted({name.partition('.')[0] for name in sys.modules}))"
    return set(subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True).split())


@pytest.mark.parametrize(
    "code",
    [
        "import dqv2.plan, dqv2.stages, dqv2.plan.before, dqv2.runtime.warm, dqv2.runtime.script, dqv2.cli",
        """
from dqv2.config import load_config, read_files
from dqv2.plan import Plan
plan = Plan(load_config(read_files([])))
for job in plan.jobs(plan.targets() + plan.exports()):
    plan.options(job)
""",
    ],
    ids=["import", "the paper's plan"],
)
def test_a_plan_needs_neither_torch_nor_pandas_nor_snakemake(code):
    loaded = loaded_after(code)
    assert "dqv2" in loaded
    heavy = {"torch", "torchvision", "timm", "pandas", "scipy", "sklearn", "matplotlib", "transformers", "snakemake"}
    assert not loaded & heavy


def test_a_plan_that_looks_at_drawings_draws_nothing():
    loaded = loaded_after("import dqv2.paper.figures, dqv2.paper.seeds, dqv2.paper.cost_figure, dqv2.paper.tables")
    assert "matplotlib" in loaded
    assert "seaborn" not in loaded


def test_a_script_imports_next_to_nothing_where_the_server_does_the_work():
    assert not loaded_after("import dqv2.runtime.script") & {"torch", "numpy", "pandas", "pydantic", "yaml"}


def test_nothing_names_a_place_of_one_machine():
    kinds = {".py", ".smk", ".yaml", ".md", ".toml"}
    files = [file for folder in ("src", "workflow", "config", "profiles") for file in (ROOT / folder).rglob("*")]
    texts = {file: file.read_text(encoding="utf-8") for file in files if Path(file).suffix in kinds}
    assert [file for file, text in texts.items() if re.search("/(home|root|work)/", text)] == []


def test_a_package_has_one_version_whichever_requirements_it_is_installed_by():
    pins: dict[str, set[str]] = {}
    for file in sorted((ROOT / "envs").glob("requirements*.txt")):
        own: dict[str, set[str]] = {}
        for line in re.findall("^[a-z0-9].*==.*$", file.read_text(encoding="utf-8"), re.MULTILINE):
            own.setdefault(line.partition("==")[0], set()).add(line)  # one line per version of Python
        for name, lines in own.items():
            pins.setdefault(name, set()).add(" and ".join(sorted(lines)))
    assert {name: found for name, found in pins.items() if len(found) > 1} == {}

"""The arrows point one way: stage → shared part → library."""

import ast
from pathlib import Path

from pipeline.recipe import BESIDE, LINE, upstream

PACKAGE = Path(__file__).parents[1] / "pipeline"
PROGRAMS = {*LINE, *BESIDE}


def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def test_nothing_imports_a_program() -> None:
    programs = {f"pipeline.{name}" for name in PROGRAMS}
    wrong = {str(path): _imports(path) & programs for path in PACKAGE.rglob("*.py")}
    assert not {path: names for path, names in wrong.items() if names}


def test_every_stage_of_the_recipe_is_a_program_and_every_program_is_listed() -> None:
    shared = {"artifacts", "config", "console", "errors", "parallel", "program", "recipe", "yaml_text"}
    assert {path.stem for path in PACKAGE.glob("[!_]*.py")} - shared == PROGRAMS


def test_folders_of_shared_parts_know_neither_the_line_nor_how_a_program_runs() -> None:
    for folder in ("text", "model", "training", "transfer", "metrics"):
        for path in (PACKAGE / folder).rglob("*.py"):
            assert not _imports(path) & {"pipeline.recipe", "pipeline.program"}, path


def test_a_folder_of_shared_parts_knows_only_those_below_it() -> None:
    folders = ("text", "metrics", "model", "training", "transfer", "reporting")
    for place, folder in enumerate(folders):
        above = tuple(f"pipeline.{name}." for name in folders[place + 1 :])
        wrong = {
            str(path): {i for i in _imports(path) if i.startswith(above)} for path in (PACKAGE / folder).rglob("*.py")
        }
        assert not {path: names for path, names in wrong.items() if names}


def test_upstream_is_what_a_stage_reads_from_directly_or_not() -> None:
    assert upstream("fetch") == ["fetch"]
    assert upstream("tokenizer") == ["fetch", "extract", "filter", "tokenizer"]
    assert upstream("report") == list(LINE)

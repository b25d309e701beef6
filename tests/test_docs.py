"""What the pages tell people to type exists and is well formed."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT, Program

from pipeline import config

PAGES = [*sorted(ROOT.glob("*.md")), ROOT / "corpora/README.md", *sorted((ROOT / "docs").glob("*.md"))]


def _blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def _commands() -> list[str]:
    lines = [line for page in PAGES for block in _blocks(page, "(?:sh)?") for line in block.splitlines()]
    return sorted({line.split(" #")[0].strip() for line in lines if line.startswith(("make ", "python "))})


@pytest.mark.parametrize("command", [c for c in _commands() if c.startswith("make ")])
def test_every_make_command_is_a_target_and_its_settings_are_known(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = shlex.split(command)
    dry = subprocess.run(["make", "--dry-run", *words[1:]], cwd=ROOT, capture_output=True, text=True)
    assert dry.returncode == 0, dry.stderr
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("AKSHARA_DATA", "/data")
    given = dict(word.split("=", 1) for word in words[1:] if "=" in word)
    config.load(given.get("RUN", given.get("WIKI", "or")), given.get("SET", "").split())


@pytest.mark.parametrize("command", [c for c in _commands() if c.startswith("python ")])
def test_every_python_command_names_a_program_that_takes_its_options(command: str, program: Program) -> None:
    words = shlex.split(command)
    if words[1] == "-m" and words[2].startswith("pipeline"):
        shown = program(words[2].removeprefix("pipeline."), "--help").stdout
        assert all(option in shown for option in re.findall(r"--[a-z_-]+", command))
    else:
        assert (ROOT / (words[2].replace(".", "/") + ".py" if words[1] == "-m" else words[1])).exists()


def test_the_readmes_example_is_a_configuration(tmp_path: Path) -> None:
    (example,) = _blocks(ROOT / "README.md", "yaml")
    (tmp_path / "example.yaml").write_text(example, "utf-8")
    assert config.load(str(tmp_path / "example.yaml")).corpus.extra[0].weight == 0.5


def _anchors(page: Path) -> set[str]:
    """What GitHub makes of the headings."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", page.read_text("utf-8")):
            path = page.parent / target if target else page
            assert path.exists(), f"{page.name} → {target}"
            assert not anchor or anchor in _anchors(path), f"{page.name} → {target}#{anchor}"

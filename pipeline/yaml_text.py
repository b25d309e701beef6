"""YAML in which every scalar is text, so that the types of the settings alone say what is a number.

``language: no`` stays "no", ``5e-4`` is a number wherever a number is wanted, and a date stays text.
"""

import contextlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import UsageError


class _TextLoader(yaml.SafeLoader):
    """YAML whose plain scalars are all text, but for null; a key given twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise UsageError(f"line {node.start_mark.line + 1}: the key `{twice}` is given twice")
        return super().construct_mapping(node, deep)


_TextLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in pairs if tag == "tag:yaml.org,2002:null"]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parse(text: str, source: Path | str) -> dict[str, Any]:
    """The settings in ``text``. UsageError, naming ``source``: no YAML, a key twice, or no mapping."""
    try:
        values = yaml.load(text, _TextLoader)  # noqa: S506 -- a SafeLoader
    except yaml.YAMLError as error:
        raise UsageError(f"{source} is not YAML: {' '.join(str(error).split())}") from error
    except UsageError as error:
        raise UsageError(f"{source}, {error}") from error
    if not isinstance(values, dict):
        raise UsageError(f"{source} holds no settings: it needs at least `run:` and `language:`")
    return values


def put(values: dict[str, Any], override: str) -> None:
    """Write an ``override``, ``section.key=value``, into ``values``. UsageError: it is none."""
    name, equals, text = override.partition("=")
    if not equals:
        raise UsageError(f"`{override}` is not a setting: write section.key=value, e.g. pretrain.max_minutes=5")
    *sections, key = name.split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise UsageError(f"`{name}`: `{section}` is not a section")
    sign = re.fullmatch(r"[^\w\s~]", text)  # `|`, `#` or `-` mean something to YAML, and themselves to a user
    values[key] = text if sign else parse(f"value: {text}", override)["value"]


def in_all_texts(value: Any, change: Callable[[str], Any]) -> Any:
    """``value`` with what ``change`` makes of every text in it, keys left alone."""
    if isinstance(value, dict):
        return {k: in_all_texts(v, change) for k, v in value.items()}
    if isinstance(value, list):
        return [in_all_texts(v, change) for v in value]
    return change(value) if isinstance(value, str) else value


def as_it_looks(text: str) -> Any:
    """A number or a truth value in place of the text that the loader makes of all scalars."""
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return {"true": True, "false": False}.get(text, text)


def expand(text: str) -> str:
    """``${NAME}`` becomes the environment variable of that name."""

    def lookup(match: re.Match[str]) -> str:
        if match[1] not in os.environ:
            raise UsageError(f"`{text}` needs the environment variable {match[1]}, which is not set")
        return os.environ[match[1]]

    return re.sub(r"\$\{(\w+)\}", lookup, text)

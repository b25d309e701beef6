"""The page: one HTML file that loads nothing, from what ``gather`` found."""

from pathlib import Path
from typing import Any

from jinja2 import ChainableUndefined, Environment, FileSystemLoader, select_autoescape

import pipeline

HERE = Path(__file__).parent


def render(found: dict[str, Any], template: str = "page.html.jinja") -> str:
    """The whole page as HTML. Names that ``found`` lacks, at any depth, count as absent; all text is escaped."""
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=ChainableUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "number": number,
        "percent": percent,
        "points": points,
        "chance": chance,
        "duration": duration,
        "bytes": in_bytes,
        "words": lambda name: str(name).replace("_", " "),
    }
    return environment.get_template(template).render(**found, akshara=pipeline.__version__)


def number(value: Any) -> str:
    """1234567 as 1,234,567; fractions with as many digits as tell something."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def percent(share: float) -> str:
    return f"{100 * share:.1f}\N{NO-BREAK SPACE}%"


def points(share: float) -> str:
    """A difference of shares in percentage points, with its sign."""
    return f"{100 * share:+.1f}".replace("-", "−")


def chance(p: float) -> str:
    """A p-value with three decimals."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def duration(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def in_bytes(size: int) -> str:
    """12345678 as 12.3 MB (powers of a thousand)."""
    power = min(3, (len(str(size)) - 1) // 3)
    amount = size / 1000**power
    digits = 1 if power and amount < 100 else 0
    return f"{amount:.{digits}f} {('B', 'kB', 'MB', 'GB')[power]}"

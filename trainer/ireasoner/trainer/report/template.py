"""What the pages share: the template environment, and the formats of figures and settings."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from ireasoner.trainer.report.timing import duration
from ireasoner.trainer.whole_file import write_whole


def render(template: str, **content: Any) -> str:
    """Renders a template."""
    environment = Environment(
        loader=PackageLoader("ireasoner.trainer.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=_number, percent=_percent, points=_points, duration=duration)
    return environment.get_template(template).render(**content)


def write_page(page: str, output: Path) -> Path:
    """Writes a page completely or not at all; returns its path."""
    write_whole(output, page)
    return output


def flat(settings: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every setting as its dotted name and its value as text."""
    for name, value in settings.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _number(value: float | None) -> str:
    """Three significant digits, two below 0.1; a dash for None or a number that is not finite."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    if abs(value) < 0.001 or abs(value) >= 10_000:
        return f"{value:.1e}".replace("-", "−")
    decimals = max(0, (2 if abs(value) >= 0.1 else 1) - math.floor(math.log10(abs(value))))
    return f"{value:.{decimals}f}".replace("-", "−")


def _percent(share: float | None) -> str:
    """A share as a percentage, rounded to the same digits that `evaluate` prints."""
    return "–" if share is None else f"{100 * round(share, 3):.1f}%"


def _points(share: float) -> str:
    """A difference of shares in percentage points with its sign, rounded as in `_percent`."""
    return f"{100 * round(share, 3):+.1f}".replace("-", "−")

"""An atlas to read: a table, JSON, and a plot."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

from ireasoner.reward_server.commands.atlas_figures import LEAST_PAIRED, Difference, Share

_ROW_PX, _LEFT_PX, _PANEL_PX, _GAP_PX, _TOP_PX = 22, 190, 260, 30, 44


@dataclass(frozen=True, slots=True)
class Method:
    """One method on the labelled groups.

    Attributes:
        name: Its name.
        config: The config that a request would name.
        above: How often a right rollout is paid more than a wrong one of its group.
        label: How often its best-paid rollout is right.
        difference: `label` less that of the reference; None for the reference, or if they share no group.
        abstained: Number of rollouts without a reward, by reason.
    """

    name: str
    config: Mapping[str, Any]
    above: Share
    label: Share
    difference: Difference | None
    abstained: Mapping[str, int]

    @property
    def is_scored(self) -> bool:
        """Whether it paid any rollout."""
        return self.label.groups > 0


@dataclass(frozen=True, slots=True)
class Atlas:
    """Every method on the same labelled groups.

    Attributes:
        groups: Number of labelled groups.
        rollouts: Number of their rewarded rollouts.
        accuracy: Share of these that are right.
        against: The method that the others are compared with.
        methods: The methods, in their order.
    """

    groups: int
    rollouts: int
    accuracy: float
    against: str
    methods: Sequence[Method]

    @property
    def best_first(self) -> list[Method]:
        """The methods that scored, by their difference to the reference on the groups that both scored, best first.

        Those that share no group with the reference are last.
        """
        scored = [method for method in self.methods if method.is_scored]
        return sorted(scored, key=self._rank)

    def _rank(self, method: Method) -> tuple[bool, float]:
        if method.difference is None:
            return method.name != self.against, 0.0
        return False, -round(method.difference.mean, 9)


def as_json(atlas: Atlas) -> dict[str, Any]:
    """The atlas as JSON, figures rounded to four decimals."""
    rounded: dict[str, Any] = _rounded(asdict(atlas))
    return rounded


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _rounded(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return round(value, 4) if isinstance(value, float) else value


def page(atlas: Atlas) -> str:
    """The atlas as a table."""
    few = "" if atlas.groups >= LEAST_PAIRED else f"; fewer than {LEAST_PAIRED}: too few to compare methods"
    lines = [
        f"{atlas.groups} groups with labels{few}; {atlas.accuracy:.3f} of their {atlas.rollouts} rollouts are right",
        "",
        f"{'':22}{'right above wrong':24}{'label true':24}{f'minus {atlas.against}':26}{'p (Holm)':>8}{'groups':>8}",
        *map(_row, atlas.best_first),
    ]
    missing = [method for method in atlas.methods if not method.is_scored]
    if missing:
        lines += ["", "not scored:", *(f"{method.name:22}{_reasons(method)}" for method in missing)]
    partly = [method for method in atlas.best_first if method.abstained]
    if partly:
        lines += ["", "left out:", *(f"{method.name:22}{_reasons(method)}" for method in partly)]
    return "\n".join(lines)


def _row(method: Method) -> str:
    return (
        f"{method.name:22}{_share(method.above):24}{_share(method.label):24}"
        f"{_difference(method.difference):26}{_p(method.difference):>8}{method.label.groups:>8}"
    )


def _share(share: Share) -> str:
    return "none" if share.mean is None else f"{share.mean:.3f} [{share.low:.3f}, {share.high:.3f}]"


def _difference(found: Difference | None) -> str:
    if found is None:
        return ""
    return f"{found.mean:+.3f}" + ("" if found.low is None else f" [{found.low:+.3f}, {found.high:+.3f}]")


def _p(found: Difference | None) -> str:
    if found is None or found.p_holm is None:
        return ""
    return "<0.001" if found.p_holm < 0.001 else f"{found.p_holm:.3f}"


def _reasons(method: Method) -> str:
    return "; ".join(f"{reason} ({count} rollouts)" for reason, count in method.abstained.items())


def as_svg(atlas: Atlas) -> str:
    """The atlas as a plot: for each method a dot and its interval, on two scales from 0 to 1."""
    methods = atlas.best_first
    height = _TOP_PX + _ROW_PX * len(methods) + 30
    width = _LEFT_PX + 2 * _PANEL_PX + 2 * _GAP_PX
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for index, method in enumerate(methods):
        y = _TOP_PX + _ROW_PX * index + _ROW_PX / 2
        parts.append(f'<text x="{_LEFT_PX - 12}" y="{y + 4}" text-anchor="end">{escape(method.name)}</text>')
    for panel, title in enumerate(("right above wrong (0.5 is chance)", "label true")):
        left = _LEFT_PX + panel * (_PANEL_PX + _GAP_PX)
        shares = [(method.above, method.label)[panel] for method in methods]
        parts += _panel(left, height, title, shares, 0.5 if panel == 0 else atlas.accuracy)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(left: int, height: int, title: str, shares: Sequence[Share], line: float) -> list[str]:
    bottom = height - 24

    def x(value: float) -> str:
        return f"{left + value * _PANEL_PX:.1f}"

    parts = [
        f'<text x="{x(0.5)}" y="20" text-anchor="middle">{title}</text>',
        f'<line x1="{x(0)}" x2="{x(1)}" y1="{bottom}" y2="{bottom}" stroke="black"/>',
        f'<line x1="{x(line)}" x2="{x(line)}" y1="{_TOP_PX - 12}" y2="{bottom}" stroke="gray" stroke-dasharray="4 3"/>',
        *(
            f'<text x="{x(tick)}" y="{height - 8}" text-anchor="middle" font-size="10">{tick:g}</text>'
            for tick in (0, 0.25, 0.5, 0.75, 1)
        ),
    ]
    for index, share in enumerate(shares):
        y = _TOP_PX + _ROW_PX * index + _ROW_PX / 2
        if share.mean is not None and share.low is not None and share.high is not None:
            parts += [
                f'<line x1="{x(share.low)}" x2="{x(share.high)}" y1="{y}" y2="{y}" stroke="#1f77b4" stroke-width="2"/>',
                f'<circle cx="{x(share.mean)}" cy="{y}" r="4" fill="#1f77b4"/>',
            ]
    return parts

"""Curves as SVG, without a plotting library: panels, each with axes, lines, deviations and a legend.

Plain shapes and text: nothing that runs or is fetched.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT = 640, 360  # of a panel
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 168, 36, 48  # the legend is on the right
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # told apart by the colour-blind
_TICKS = 5
_TITLE = 36  # room for the title of all panels
_MOST_DOTS = 30  # points of a line that are marked one by one


@dataclass(frozen=True, slots=True)
class Point:
    """One measured value.

    Attributes:
        x: Place on the horizontal axis.
        y: The mean.
        deviation: Above and below it; 0 for none.
    """

    x: float
    y: float
    deviation: float = 0.0


@dataclass(frozen=True, slots=True)
class Series:
    """One line; ``is_dashed`` for what others measured."""

    name: str
    points: Sequence[Point]
    is_dashed: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """One diagram.

    Attributes:
        title: Above it.
        x_title: Of the horizontal axis.
        y_title: Of the vertical axis.
        x_ticks: Places on the horizontal axis and how they are written.
        series: Lines; a series and its dashed twin, one after the other, share a colour.
        is_log: Whether the horizontal axis is logarithmic.
    """

    title: str
    x_title: str
    y_title: str
    x_ticks: Sequence[tuple[float, str]]
    series: Sequence[Series]
    is_log: bool = False


def drawing(panels: Sequence[Panel], *, title: str | None = None, columns: int | None = None) -> str:
    """All panels as one SVG document.

    Args:
        panels: From left to right, and from above.
        title: Over all of them; None for none.
        columns: Panels beside each other; None for all.
    """
    columns, top = min(columns or len(panels), len(panels)), 0 if title is None else _TITLE
    width, height = _WIDTH * columns, _HEIGHT * -(-len(panels) // columns) + top
    parts = [] if title is None else [_text(width / 2, 24, title, size=16)]
    for place, each in enumerate(panels):
        row, column = divmod(place, columns)
        parts.append(f'<g transform="translate({_WIDTH * column} {_HEIGHT * row + top})">{_panel(each)}</g>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="12" role="img">\n'
        f'<rect width="{width}" height="{height}" fill="white"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


@dataclass(frozen=True, slots=True)
class _Frame:
    """From values to places of a panel."""

    low: tuple[float, float]
    high: tuple[float, float]
    is_log: bool

    @classmethod
    def of(cls, panel: Panel) -> "_Frame":
        points = [point for series in panel.series for point in series.points]
        xs = [x for x, _ in panel.x_ticks] + [point.x for point in points]
        lows, highs = ([point.y + sign * point.deviation for point in points] for sign in (-1, 1))
        margin = 0.05 * (max(highs) - min(lows)) or 0.05 * abs(max(highs)) or 1.0
        return cls((min(xs), min(lows) - margin), (max(xs), max(highs) + margin), panel.is_log)

    def x(self, value: float) -> float:
        low, high = self._on_axis(self.low[0]), self._on_axis(self.high[0])
        share = (self._on_axis(value) - low) / ((high - low) or 1.0)
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        share = (value - self.low[1]) / (self.high[1] - self.low[1])
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)

    def _on_axis(self, value: float) -> float:
        return math.log10(value) if self.is_log else value


def _panel(panel: Panel) -> str:
    frame = _Frame.of(panel)
    middle, bottom = (_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - _BOTTOM
    parts = [
        _text(middle, 20, panel.title, size=14),
        _text(middle, _HEIGHT - 8, panel.x_title),
        f'<g transform="translate(14 {(_TOP + bottom) / 2:.1f}) rotate(-90)">{_text(0, 0, panel.y_title)}</g>',
        f'<path d="M{_LEFT} {_TOP}V{bottom}H{_WIDTH - _RIGHT}" fill="none" stroke="black"/>',
        *(_text(frame.x(value), bottom + 18, name) for value, name in panel.x_ticks),
        *(_level(frame, number / (_TICKS - 1)) for number in range(_TICKS)),
    ]
    colour = -1
    for place, series in enumerate(panel.series):
        colour += 0 if series.is_dashed and place else 1
        parts.append(_line(frame, series, _COLOURS[colour % len(_COLOURS)], place))
    return "".join(parts)


def _level(frame: _Frame, share: float) -> str:
    """A horizontal line of the grid with its value."""
    value = frame.low[1] + share * (frame.high[1] - frame.low[1])
    y = frame.y(value)
    line = f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}" stroke="#dddddd"/>'
    return line + _text(_LEFT - 6, y + 4, f"{value:.3g}", anchor="end")


def _line(frame: _Frame, series: Series, colour: str, place: int) -> str:
    """The line, its points with their deviations, and its entry in the legend."""
    points = sorted(series.points, key=lambda point: point.x)
    path = " ".join(f"{frame.x(point.x):.1f},{frame.y(point.y):.1f}" for point in points)
    dash = ' stroke-dasharray="5 4"' if series.is_dashed else ""
    style = f'fill="none" stroke="{colour}" stroke-width="2"{dash}'
    parts = [f'<polyline points="{path}" {style}/>']
    for point in points:
        x = frame.x(point.x)
        if point.deviation:
            low, high = frame.y(point.y - point.deviation), frame.y(point.y + point.deviation)
            parts.append(f'<path d="M{x:.1f} {low:.1f}V{high:.1f}" stroke="{colour}"/>')
        if len(points) <= _MOST_DOTS:
            parts.append(f'<circle cx="{x:.1f}" cy="{frame.y(point.y):.1f}" r="3" fill="{colour}"/>')
    y = _TOP + 12 + 16 * place
    parts.append(f'<path d="M{_WIDTH - _RIGHT + 14} {y}h24" {style}/>')
    parts.append(_text(_WIDTH - _RIGHT + 44, y + 4, series.name, anchor="start"))
    return "".join(parts)


def _text(x: float, y: float, text: str, *, size: int = 12, anchor: str = "middle") -> str:
    shown = escape("".join(each if each.isprintable() else " " for each in text))  # XML has no control characters
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}">{shown}</text>'

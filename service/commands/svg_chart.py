"""Charts as one SVG file, for a page or a paper: plain shapes and text, nothing that runs or is fetched."""

from collections.abc import Sequence
from xml.sax.saxutils import escape

from adavae.service.commands.run_figures import Chart, Line
from adavae.service.commands.terminal_chart import figure

_WIDTH, _HEIGHT, _GAP = 420, 220, 24
_LEFT, _TOP, _BOTTOM = 56, 30, 22  # room for the values, the title, the steps
_COLOURS = ("#1f6feb", "#d1571a")


def svg_of(title: str, charts: Sequence[Chart], columns: int = 2) -> str:
    """The charts side by side, ``columns`` in a row, under a title."""
    rows = -(-len(charts) // columns)
    width, height = columns * (_WIDTH + _GAP) + _GAP, rows * (_HEIGHT + _GAP) + 2 * _GAP
    placed = [
        f'<g transform="translate({_GAP + number % columns * (_WIDTH + _GAP)} '
        f'{2 * _GAP + number // columns * (_HEIGHT + _GAP)})">{_chart(chart)}</g>'
        for number, chart in enumerate(charts)
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12" role="img">',
            f"<title>{_text(title)}</title>",
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
            f'<text x="{_GAP}" y="{_GAP + 4}" font-size="16" fill="#1f2328">{_text(title)}</text>',
            *placed,
            "</svg>\n",
        ]
    )


def _chart(chart: Chart) -> str:
    points = [point for line in chart.lines for point in line.points]
    steps = (min(step for step, _ in points), max(step for step, _ in points))
    values = (min(value for _, value in points), max(value for _, value in points))
    right, bottom = _WIDTH, _HEIGHT - _BOTTOM
    parts = [
        f'<text x="{_LEFT}" y="14" fill="#1f2328">{_text(chart.title)}</text>',
        f'<path d="M{_LEFT} {_TOP}V{bottom}H{right}" fill="none" stroke="#8c959f"/>',
    ]
    for value, y in ((values[1], _TOP + 4), (values[0], bottom + 4)):
        parts.append(f'<text x="{_LEFT - 6}" y="{y}" text-anchor="end" fill="#59636e">{figure(value)}</text>')
    for step, x, anchor in ((steps[0], _LEFT, "start"), (steps[1], right, "end")):
        parts.append(f'<text x="{x}" y="{_HEIGHT - 4}" text-anchor="{anchor}" fill="#59636e">{f"{step:,.0f}"}</text>')
    for number, line in enumerate(chart.lines):
        colour = _COLOURS[number % len(_COLOURS)]
        parts.append(_curve(line, steps, values, colour))
        parts.append(
            f'<text x="{right}" y="{14 + 14 * number}" text-anchor="end" fill="{colour}">{_text(line.name)} '
            f"{figure(line.points[-1][1])}</text>"
        )
    return "".join(parts)


def _curve(line: Line, steps: tuple[float, float], values: tuple[float, float], colour: str) -> str:
    across, down = _WIDTH - _LEFT, _HEIGHT - _BOTTOM - _TOP
    places = " ".join(
        f"{_LEFT + across * _share(step, steps):.1f},{_TOP + down * (1 - _share(value, values)):.1f}"
        for step, value in line.points
    )
    if len(line.points) == 1:
        x, _, y = places.partition(",")
        return f'<circle cx="{x}" cy="{y}" r="2.5" fill="{colour}"/>'
    return f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="1.5"/>'


def _share(value: float, ends: tuple[float, float]) -> float:
    return (value - ends[0]) / (ends[1] - ends[0]) if ends[1] > ends[0] else 0.0


def _text(text: str) -> str:
    """Text for SVG: without characters that XML does not have."""
    return escape("".join(each if each.isprintable() else " " for each in text))

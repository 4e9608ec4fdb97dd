"""Curves in a terminal: dots of Unicode's Braille patterns, two across and four down in a character, with an axis."""

from collections.abc import Sequence
from itertools import pairwise

from adavae.service.commands.run_figures import Chart, Points

_BLANK = 0x2800
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # of a cell, by row and column
_ACROSS, _DOWN = 2, 4
_HEIGHT, _LEAST_WIDTH = 8, 20


def drawn(chart: Chart, width: int, height: int = _HEIGHT) -> list[str]:
    """A chart as lines of text.

    Args:
        chart: At least one line with a point.
        width: Characters of each line.
        height: Lines of the drawing itself.

    Returns:
        The title, the drawing with the largest and least value beside it, and the steps below; the title alone where
        nothing changes.
    """
    points = [point for line in chart.lines for point in line.points]
    low, high = (edge(value for _, value in points) for edge in (min, max))
    first, last = (edge(step for step, _ in points) for edge in (min, max))
    if low == high:
        return [f"{_title(chart)} throughout"]
    marks = [figure(high), *[""] * (height - 2), figure(low)]
    room = max(map(len, marks))
    across = max(_LEAST_WIDTH, width - room - 2)
    cells = [[_BLANK] * across for _ in range(height)]
    for line in chart.lines:
        for column, row in _way(line.points, (first, last), (low, high), across * _ACROSS, height * _DOWN):
            cells[row // _DOWN][column // _ACROSS] |= _DOTS[row % _DOWN][column % _ACROSS]
    rows = [f"{mark:>{room}} ┤{''.join(map(chr, row))}" for mark, row in zip(marks, cells, strict=True)]
    begin, end = f"{first:,.0f}", f"{last:,.0f}"
    below = f"{'':{room}}  {begin}{end:>{max(1, across - len(begin))}}"
    return [_title(chart), *(row.rstrip(chr(_BLANK)) for row in rows), below]


def figure(value: float) -> str:
    """A number in few characters."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _title(chart: Chart) -> str:
    """What is drawn, and where each line ends; several lines are told apart by that."""
    ends = ", ".join(f"{line.name} {figure(line.points[-1][1])}" for line in chart.lines if line.points)
    return f"{chart.title}: {ends}"


def _way(
    points: Points, steps: tuple[float, float], values: tuple[float, float], across: int, down: int
) -> list[tuple[int, int]]:
    """Dots (column, row from the top) of a line through the points."""
    places = [
        (_place(step, steps, across), down - 1 - _place(value, values, down)) for step, value in sorted(set(points))
    ]
    dots = places[:1]
    for (column, row), (next_column, next_row) in pairwise(places):
        num = max(abs(next_column - column), abs(next_row - row), 1)
        dots += [
            (column + round((next_column - column) * at / num), row + round((next_row - row) * at / num))
            for at in range(1, num + 1)
        ]
    return dots


def _place(value: float, ends: Sequence[float], num: int) -> int:
    """Which of ``num`` places, from 0, a value between two ends has."""
    low, high = ends
    return round((value - low) / (high - low) * (num - 1)) if high > low else 0

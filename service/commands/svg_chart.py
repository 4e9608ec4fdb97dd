"""The charts of a training run as one SVG file, drawn as the paper's curves are."""

from collections.abc import Sequence

from adavae.model.training.svg import Panel, Point, Series, drawing
from adavae.service.commands.run_figures import Chart
from adavae.service.commands.terminal_chart import figure


def svg_of(title: str, charts: Sequence[Chart], columns: int = 2) -> str:
    """The charts side by side, ``columns`` in a row, under a title; each line's name says where it ends."""
    return drawing([_panel(chart) for chart in charts], title=title, columns=columns)


def _panel(chart: Chart) -> Panel:
    steps = sorted({step for line in chart.lines for step, _ in line.points})
    name, _, unit = chart.title.partition(", ")
    return Panel(
        title=name,
        x_title="steps",
        y_title=unit,
        x_ticks=[(step, f"{step:,.0f}") for step in dict.fromkeys((steps[0], steps[-1]))],
        series=[
            Series(f"{line.name} {figure(line.points[-1][1])}", [Point(step, value) for step, value in line.points])
            for line in chart.lines
        ],
    )

"""Curves: every point at its place, deviations, and what cannot be drawn."""

import re
from xml.etree import ElementTree

import pytest

from adavae.model.errors import ConfigError
from adavae.model.training.reproduction import figure1
from adavae.model.training.reproduction.curves import curves
from adavae.model.training.svg import Panel, Point, Series, drawing
from tests.unit.model.training.reproduction.tiny_reproduction import a_cell

_SVG = "{http://www.w3.org/2000/svg}"


def circles(svg: str) -> list[tuple[float, float]]:
    found = ElementTree.fromstring(svg).iter(f"{_SVG}circle")
    return [(float(each.attrib["cx"]), float(each.attrib["cy"])) for each in found]


def lines(svg: str) -> list[bool]:
    """Whether each line is dashed."""
    return ["stroke-dasharray" in each.attrib for each in ElementTree.fromstring(svg).iter(f"{_SVG}polyline")]


def test_equal_factors_are_equally_far_on_a_logarithmic_axis() -> None:
    points = [Point(10, 0.5), Point(100, 0.7), Point(1000, 0.9)]
    ticks = [(10, "10"), (1000, "1,000")]
    svg = drawing([Panel("<a & b>", "x", "y", ticks, [Series("s", points)], is_log=True)])
    (x1, y1), (x2, y2), (x3, y3) = circles(svg)
    assert x2 - x1 == pytest.approx(x3 - x2, abs=0.2) and x1 < x2
    assert y1 - y2 == pytest.approx(y2 - y3, abs=0.2) and y1 > y2  # upwards on the page is less
    assert "&lt;a &amp; b&gt;" in svg


def test_figure_1_has_a_line_a_system_with_its_deviations() -> None:
    cells = [
        a_cell("figure1", figure1.row_name(system, labels), seed, accuracy=accuracy, num_labels=labels or 5000)
        for system, accuracy in (("AdaVAE FT", 0.5), ("AdaVAE PE", 0.8))
        for labels in (10, 100, None)
        for seed, accuracy in ((0, accuracy), (1, accuracy + 0.1))
    ]
    svg = curves(cells)
    assert lines(svg) == [False, False] and len(circles(svg)) == 6
    assert len(re.findall(r'V[\d.]+" stroke="#', svg)) == 6  # a deviation at every point
    assert {"AdaVAE FT", "AdaVAE PE", "5,000"} <= {
        each.text for each in ElementTree.fromstring(svg).iter(f"{_SVG}text")
    }


def test_lambda_curves_have_the_papers_dashed_beside_ours() -> None:
    cells = [a_cell("table2", f"AdaVAE {each:.2f}", mi=each, ppl_word=40.0) for each in (0.05, 0.50)]
    svg = curves(cells)
    assert lines(svg) == [False, True] * 2  # two panels: perplexity, mutual information
    assert len(circles(svg)) == 2 * (2 + 5)


def test_what_has_no_curve_is_refused() -> None:
    with pytest.raises(ConfigError, match="AdaVAE or Optimus is run at some lambda"):
        curves([a_cell("table2", "LSTM-LM", ppl_word=9.0, mi=0.0)])

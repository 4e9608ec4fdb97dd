"""A run's figures: listed, drawn in the terminal, as SVG, and as TensorBoard reads them."""

import json
import struct
import sys
import xml.etree.ElementTree as ElementTree
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from adavae.model.errors import DatasetError
from adavae.service.commands.png import png_of
from adavae.service.commands.run_figures import Chart, Line, charts_of, metrics_file, read_figures
from adavae.service.commands.svg_chart import svg_of
from adavae.service.commands.tensorboard_log import TensorboardLog, crc32c, record, scalars
from adavae.service.commands.terminal_chart import drawn
from tests.unit.service.conftest import RunCommand

_REPORTS = [
    {"step": step, "total_steps": 40, "loss": 8.0 / step, "validation_loss": None if step < 20 else 0.5, "kl_nats": 0.0}
    for step in (10, 20, 30, 40)
]


def written(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ADAVAE_DATA", str(tmp_path))
    reports = [json.dumps(report) for report in _REPORTS]
    written(tmp_path / "runs" / "mine" / "metrics.jsonl", *reports)
    written(tmp_path / "jobs" / "ftjob-1" / "attempts" / "2" / "metrics.jsonl", *reports[:1])
    written(tmp_path / "jobs" / "ftjob-1" / "attempts" / "10" / "metrics.jsonl", *reports[:2])
    (tmp_path / "runs" / "just-begun").mkdir()
    return tmp_path


@pytest.mark.usefixtures("data")
def test_runs_of_this_machine_and_jobs_are_listed(run_command: RunCommand) -> None:
    outcome = run_command("runs", "list")
    records = {record["run"]: record for record in map(json.loads, outcome.out.splitlines())}
    assert {name: record["step"] for name, record in records.items()} == {"mine": 40, "ftjob-1": 20}
    assert records["mine"]["validation_loss"] == 0.5


def test_a_runs_reports_are_what_json_shows(run_command: RunCommand, data: Path) -> None:
    for named in ("mine", str(data / "runs" / "mine"), str(data / "runs" / "mine" / "metrics.jsonl")):
        records = [json.loads(line) for line in run_command("runs", "show", named).out.splitlines()]
        assert [record["loss"] for record in records] == [0.8, 0.4, 8 / 30, 0.2]
    unknown = run_command("runs", "show", "nobody")
    assert unknown.exit_code == 1
    assert "adavae runs list" in unknown.err


def test_a_rising_line_is_drawn_from_below_to_above() -> None:
    chart = Chart("rising", (Line("it", [(0.0, 0.0), (1000.0, 2.5)]),))
    title, *rows, below = drawn(chart, 30, height=3)
    assert title == "rising: it 2.5"
    assert [row.partition("┤")[0].strip() for row in rows] == ["2.5", "", "0"]
    assert rows[0].endswith("⠉")
    assert rows[2].partition("┤")[2].startswith("⣀")
    assert below.split() == ["0", "1,000"]
    assert all(len(line) <= 30 for line in (*rows, below))


@pytest.mark.parametrize("points", [[(5.0, 1.0)], [(5.0, 1.0), (6.0, 1.0)]])
def test_a_line_that_never_changes_is_said_and_not_drawn(points: list[tuple[float, float]]) -> None:
    chart = Chart("beta", (Line("beta", points),))
    assert drawn(chart, 40) == ["beta: beta 1 throughout"]
    assert "NaN" not in svg_of("run", [chart])


def test_a_broken_file_of_figures_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    """A run that was resumed tells some steps again; one that was killed leaves half a line."""
    lines = ['{"step": 20, "loss": 9}', '{"step": 10, "loss": 5}', '{"step": 20, "loss": 4}']
    odd = ["[1]", '{"loss": 1}', '{"step": NaN}', '{"step": 30, "loss": "9", "beta": 1e999}', '{"step": 4']
    path = written(tmp_path / "metrics.jsonl", *lines, *odd)
    assert read_figures(path) == [{"step": 10, "loss": 5}, {"step": 20, "loss": 4}, {"step": 30}]
    with pytest.raises(DatasetError, match="no figures yet"):
        read_figures(written(tmp_path / "empty.jsonl"))


def test_the_newest_attempt_of_a_job_counts(data: Path) -> None:
    assert metrics_file(data / "jobs" / "ftjob-1").parent.name == "10"


@pytest.mark.usefixtures("data")
def test_a_plot_is_a_whole_svg_file(run_command: RunCommand, tmp_path: Path) -> None:
    outcome = run_command("runs", "plot", "mine", "--output", str(tmp_path / "mine.svg"))
    assert json.loads(outcome.out) == {"run": "mine", "path": str(tmp_path / "mine.svg")}
    svg = ElementTree.parse(tmp_path / "mine.svg").getroot()
    lines = svg.findall(".//{*}polyline")
    assert [len(line.attrib["points"].split()) for line in lines] == [4, 3]  # training; validation, known from step 20
    assert "mine: step 40 of 40" in {text.text for text in svg.findall(".//{*}text")}
    (link := tmp_path / "link.svg").symlink_to("kept")
    assert run_command("runs", "plot", "mine", "--output", str(link)).exit_code == 0
    assert link.is_symlink() and (tmp_path / "kept").read_bytes() == (tmp_path / "mine.svg").read_bytes()
    refused = run_command("runs", "plot", "mine", "--output", "mine.pdf")
    assert refused.exit_code == 2
    assert "must be .svg or .png" in " ".join(refused.err.split())


@pytest.mark.usefixtures("data")
def test_a_plot_is_a_png_of_twice_its_size_where_the_name_says_so(run_command: RunCommand, tmp_path: Path) -> None:
    pytest.importorskip("resvg_py", reason="it is the extra plot")
    for name in ("mine.svg", "mine.png"):
        outcome = run_command("runs", "plot", "mine", "--output", str(tmp_path / name))
        assert outcome.exit_code == 0, outcome.err
    svg, png = ElementTree.parse(tmp_path / "mine.svg").getroot(), (tmp_path / "mine.png").read_bytes()
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", png[16:24]) == (2 * int(svg.attrib["width"]), 2 * int(svg.attrib["height"]))
    assert len(png) > len(png_of('<svg xmlns="http://www.w3.org/2000/svg" width="640" height="396"/>'))


@pytest.mark.usefixtures("data")
def test_a_png_without_its_package_says_what_to_install(
    run_command: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    outcome = run_command("runs", "plot", "mine", "--output", str(tmp_path / "mine.png"))
    assert outcome.exit_code in (1, 2)
    assert "pip install 'adavae[plot]', or write .svg" in " ".join(outcome.err.split())
    assert not (tmp_path / "mine.png").exists()


def test_a_machine_without_fonts_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    resvg = pytest.importorskip("resvg_py", reason="it is the extra plot")
    without = SimpleNamespace(svg_to_bytes=partial(resvg.svg_to_bytes, skip_system_fonts=True))
    monkeypatch.setitem(sys.modules, "resvg_py", without)
    assert png_of(svg_of("run", charts_of([{"step": 1.0, "loss": 1.0}, {"step": 2.0, "loss": 2.0}])))
    assert "no fonts" in capsys.readouterr().err


def test_a_plot_holds_no_more_than_text_where_a_name_is_odd() -> None:
    charts = charts_of([{"step": 1.0, "loss": 1.0}, {"step": 2.0, "loss": 2.0}])
    ElementTree.fromstring(svg_of("<script>\x00&\x1b[31m", charts))


def test_the_checksum_is_castagnolis() -> None:
    """The vectors of RFC 3720, appendix B.4."""
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(bytes(range(32))) == 0x46DD794E


def test_tensorboard_gets_records_of_events(tmp_path: Path) -> None:
    """Bytes as TensorBoard 2.21 read them: a version, then a step with its scalars."""
    log = TensorboardLog(tmp_path / "mine")
    log.add(300, scalars({"loss": 0.5, "validation_loss": None, "step": 300}))
    content, messages = log.path.read_bytes(), []
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        message = content[12 : 12 + length]
        assert content[: 16 + length] == record(message)
        messages.append(message)
        content = content[16 + length :]
    assert log.path.name.startswith("events.out.tfevents.")
    assert messages[0].endswith(b"\x1a\x0dbrain.Event:2")
    value = b"\x0a\x0dloss/training" + b"\x15" + struct.pack("<f", 0.5)
    summary = b"\x0a" + bytes([len(value)]) + value
    assert messages[1][9:] == b"\x10\xac\x02" + b"\x2a" + bytes([len(summary)]) + summary  # behind its time of day


def test_a_service_writes_no_tensorboard_files(run_command: RunCommand, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\n", encoding="utf-8")
    command = (
        "train",
        str(tmp_path / "a.txt"),
        "--name",
        "x",
        "--remote",
        "http://127.0.0.1:9",
        "--tensorboard",
        "logs",
    )
    outcome = run_command(*command)
    assert outcome.exit_code == 2
    assert "--tensorboard cannot be sent to a service" in " ".join(outcome.err.split())


def test_a_run_whose_path_is_not_utf8_is_drawn(run_command: RunCommand, data: Path) -> None:
    odd = data / "runs" / "r\udcff"
    (data / "runs" / "mine").rename(odd)
    outcome = run_command("runs", "plot", "r\udcff", "--output", str(data / "a.svg"))
    assert outcome.exit_code == 0, outcome.err
    assert "r\\udcff: step" in (data / "a.svg").read_text(encoding="utf-8")

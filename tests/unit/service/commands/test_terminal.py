"""Data on stdout as JSON lines or tables, progress on stderr."""

import io
import json

import pytest
from rich.console import Console
from rich.progress import Progress

from adavae.service.commands.terminal import (
    Column,
    Output,
    ProgressBars,
    ProgressLines,
    column,
    number,
    progress_columns,
    progress_display,
    say,
    say_error,
    vector,
)

_RECORDS = [{"tau": 0.5, "text": "a [bold] text", "z": [1.0, 2.0, 3.0, 4.0, 5.0]}]
_COLUMNS = [number("tau", decimals=2), column("text"), vector("z")]


def test_json_is_one_object_a_line_with_every_field() -> None:
    stdout = io.StringIO()
    Output(stdout, is_json=True).write_records([*_RECORDS, {"text": "zwölf"}], _COLUMNS)
    lines = stdout.getvalue().splitlines()
    assert [json.loads(line) for line in lines] == [*_RECORDS, {"text": "zwölf"}]
    assert "zwölf" in lines[1]


def test_a_table_shows_its_columns_and_takes_text_as_it_is() -> None:
    stdout = io.StringIO()
    Output(stdout, is_json=False).write_records(_RECORDS, _COLUMNS)
    header, row = stdout.getvalue().splitlines()
    assert header.split() == ["tau", "text", "z"]
    assert row.split() == ["0.50", "a", "[bold]", "text", "[1.000,", "2.000,", "3.000,", "4.000,", "...]", "(5)"]


def test_an_object_is_a_table_of_its_fields() -> None:
    stdout = io.StringIO()
    record = {"ppl": 12.3456, "inner": {"kl": 3, "labels": ["a"]}, "shapes": [1]}
    Output(stdout, is_json=False).write_object(record, only_in_json=("shapes",))
    shown = [line.split() for line in stdout.getvalue().splitlines()]
    assert shown == [["ppl", "12.35"], ["inner.kl", "3"], ["inner.labels", '["a"]']]


def test_a_table_shows_the_beginning_of_a_long_list_and_json_the_whole_of_it() -> None:
    """A set's fitted prior and samples filled the screen."""
    record: dict[str, object] = {"samples": [f"text {number}" for number in range(100)]}
    table, lines = io.StringIO(), io.StringIO()
    Output(table, is_json=False).write_object(record)
    Output(lines, is_json=True).write_object(record)
    assert len(" ".join(table.getvalue().split())) < 220
    assert "text 99" not in table.getvalue()
    assert json.loads(lines.getvalue()) == record


def test_plain_progress_is_a_line_at_the_start_every_so_often_and_at_the_end() -> None:
    stderr, now_s = io.StringIO(), [0.0]
    progress = ProgressLines(stderr, interval_s=10.0, clock=lambda: now_s[0])
    progress.update("read texts", 0, None)
    for done in range(6):
        now_s[0] += 4.0
        progress.update("train", done, 5, f"loss {done}" if done else "")
    assert stderr.getvalue() == "read texts ...\ntrain 0/5\ntrain 3/5  loss 3\ntrain 5/5  loss 5\n"


def test_progress_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_display() as progress:
        progress.update("encode", 2, 2)
    assert capsys.readouterr() == ("", "encode 2/2\n")


def test_plain_progress_says_things_between_its_lines_and_nothing_of_what_has_no_end_yet() -> None:
    stderr = io.StringIO()
    progress = ProgressLines(stderr, interval_s=0.0, clock=lambda: 0.0)
    progress.update("train", 0, None, "getting ready")
    progress.say("Attempt 1 begins")
    progress.update("train", 1, 2, eta_s=3.0)
    assert stderr.getvalue() == "Attempt 1 begins\ntrain 1/2\n"


def test_on_a_narrow_terminal_only_the_figures_are_cut() -> None:
    console = Console(file=io.StringIO(), width=60)
    progress = Progress(*progress_columns(), console=console)
    bars = ProgressBars(progress)
    bars.update("send [a].tsv", 0, None)
    bars.update("send [a].tsv", 3, 9, "a long line of figures " * 5, eta_s=3661.4)
    console.print(progress.make_tasks_table(progress.tasks))
    (line,) = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert line.startswith("send [a].tsv ")
    assert " 3/9 1:01:01 a long" in line
    assert line.rstrip().endswith("…")
    assert len(line) <= 60


def test_what_is_said_beside_a_bar_is_taken_as_it_is() -> None:
    console = Console(file=io.StringIO(), width=60)
    ProgressBars(Progress(console=console)).say("the set is [bold] " + "and long " * 10)
    assert console.file.getvalue() == "the set is [bold] " + "and long " * 10 + "\n"  # type: ignore[attr-defined]


def test_what_is_to_be_copied_stays_on_one_line() -> None:
    stdout = io.StringIO()
    columns = [Column("id", lambda record: str(record["id"]), is_whole=True), column("text")]
    Output(stdout, is_json=False).write_records([{"id": "i" * 60, "text": "word " * 20}], columns)
    assert "i" * 60 in stdout.getvalue()


_HOSTILE = "\x1b]0;title\x07 \x9b31m red \u202egnp.exe \x7f"
_ESCAPED = "\\u001b]0;title\\u0007 \\u009b31m red \\u202egnp.exe \\u007f"


def test_what_would_steer_a_terminal_is_shown_and_not_sent(capsys: pytest.CaptureFixture[str]) -> None:
    """Labels, texts and names of others, and events of a remote service."""
    table, lines, stderr = io.StringIO(), io.StringIO(), io.StringIO()
    Output(table, is_json=False).write_records([{"text": _HOSTILE}], [column("text")])
    Output(lines, is_json=True).write_records([{"text": _HOSTILE}], [])
    progress = ProgressLines(stderr)
    progress.say(_HOSTILE)
    progress.update("train", 1, 1, _HOSTILE)
    console = Console(file=io.StringIO(), width=200)
    ProgressBars(Progress(console=console)).say(_HOSTILE)
    say(_HOSTILE)
    say_error(_HOSTILE)
    shown = capsys.readouterr().err
    for written, times in (
        (table.getvalue(), 1),
        (lines.getvalue(), 1),
        (stderr.getvalue(), 2),
        (console.file.getvalue(), 1),  # type: ignore[attr-defined]
        (shown, 2),
    ):
        assert written.count(_ESCAPED) == times
        assert all(character not in written for character in "\x1b\x07\x9b\u202e\x7f")
    assert json.loads(lines.getvalue())["text"] == _HOSTILE


def test_json_is_json_in_every_encoding() -> None:
    """PYTHONIOENCODING=latin-1 was a traceback."""
    record: dict[str, object] = {"text": "naïve ★ 🎉 \udce9"}
    for encoding in ("latin-1", "ascii", "utf-8"):
        written = io.BytesIO()
        stdout = io.TextIOWrapper(written, encoding=encoding)
        Output(stdout, is_json=True).write_object(record)
        assert json.loads(written.getvalue().decode(encoding)) == record


def test_progress_without_a_known_end_says_how_far() -> None:
    stderr, now_s = io.StringIO(), [0.0]
    progress = ProgressLines(stderr, interval_s=10.0, clock=lambda: now_s[0])
    for done in (512, 1024, 1536):
        now_s[0] += 6.0
        progress.update("classify", done, None)
    assert stderr.getvalue() == "classify 1024\n"

"""The command line as a person meets it: arguments and standard input in, two streams and an exit code out."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from adavae.service.cli import main
from adavae.service.settings import Settings


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one command left behind."""

    exit_code: int
    out: str
    err: str


RunCommand = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting from outside, a home of the test's own, and messages that are not wrapped."""
    for field in Settings.model_fields:
        monkeypatch.delenv(f"ADAVAE_{field.upper()}", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TERMINAL_WIDTH", "200")


@pytest.fixture
def run_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> RunCommand:
    def run(*arguments: str, stdin: str = "") -> Outcome:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        monkeypatch.setattr("sys.argv", ["adavae", *arguments])
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        captured = capsys.readouterr()
        return Outcome(int(stopped.value.code or 0), captured.out, captured.err)

    return run

"""``adavae adapters delete``: what it removes, what it refuses, and when it asks first."""

import io
import json
from pathlib import Path

import pytest

from adavae.service.cli import main
from tests.tiny_sets import publish
from tests.unit.service.conftest import RunCommand


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only set of the user's own, beside a bundled one."""
    monkeypatch.setenv("ADAVAE_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("ADAVAE_DATA", str(tmp_path / "data"))
    publish(tmp_path / "weights" / "adapters", name="bundled")
    return publish(tmp_path / "data" / "adapters", name="mine")


def test_a_set_of_ones_own_is_deleted(run_command: RunCommand, own: Path) -> None:
    outcome = run_command("adapters", "delete", f"mine@{own.name}")
    assert (outcome.exit_code, json.loads(outcome.out)) == (0, {"deleted": f"mine@{own.name}"})
    assert not own.exists()
    assert "no adapter set 'mine'" in run_command("adapters", "delete", "mine").err


def test_a_damaged_set_is_deleted_too(run_command: RunCommand, own: Path) -> None:
    (own / "manifest.json").write_text("{", encoding="utf-8")
    assert run_command("adapters", "delete", "mine").exit_code == 0
    assert not own.exists()


@pytest.mark.usefixtures("own")
def test_a_bundled_set_is_not(run_command: RunCommand, tmp_path: Path) -> None:
    outcome = run_command("adapters", "delete", "bundled", "--yes")
    assert (outcome.exit_code, outcome.out, outcome.err.count("\n")) == (1, "", 1)
    assert "is bundled with adavae and cannot be deleted" in outcome.err
    assert list((tmp_path / "weights" / "adapters" / "bundled").iterdir())


@pytest.mark.parametrize(("answer", "is_deleted"), [("n\n", False), ("\n", False), ("y\n", True)])
def test_on_a_terminal_it_asks_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], own: Path, answer: str, is_deleted: bool
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    with pytest.raises(SystemExit) as stopped:
        main(["adapters", "delete", "mine"])
    captured = capsys.readouterr()
    assert (stopped.value.code == 0, own.exists()) == (is_deleted, not is_deleted)
    assert f"Delete mine@{own.name}" in captured.err
    assert "Delete" not in captured.out


def test_with_yes_it_does_not_ask(monkeypatch: pytest.MonkeyPatch, own: Path) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(""))
    with pytest.raises(SystemExit) as stopped:
        main(["adapters", "delete", "mine", "--yes"])
    assert (stopped.value.code, own.exists()) == (0, False)


class Terminal(io.StringIO):
    """A person who types."""

    def isatty(self) -> bool:
        return True

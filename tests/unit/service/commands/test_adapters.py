"""``adavae adapters``: what is deleted and when that is asked first, what is imported and what is called whole."""

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from adavae.service.cli import main
from tests.tiny import PLAIN
from tests.tiny_home import publish_tiny, tiny_settings
from tests.tiny_sets import publish
from tests.tiny_text import tiny_set
from tests.unit.service.conftest import RunCommand


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only set of the user's own, beside a bundled one."""
    monkeypatch.setenv("ADAVAE_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("ADAVAE_DATA", str(tmp_path / "data"))
    publish(tmp_path / "weights" / "adapters", name="bundled")
    return publish(tmp_path / "data" / "adapters", name="mine")


def test_a_trained_set_is_deleted(run_command: RunCommand, mine: Path) -> None:
    outcome = run_command("adapters", "delete", f"mine@{mine.name}")
    assert (outcome.exit_code, json.loads(outcome.out)) == (0, {"deleted": f"mine@{mine.name}"})
    assert not mine.exists()
    assert "no adapter set 'mine'" in run_command("adapters", "delete", "mine").err


def test_a_damaged_set_is_deleted_too(run_command: RunCommand, mine: Path) -> None:
    (mine / "manifest.json").write_text("{", encoding="utf-8")
    assert run_command("adapters", "delete", "mine").exit_code == 0
    assert not mine.exists()


@pytest.mark.usefixtures("mine")
def test_a_bundled_set_is_not(run_command: RunCommand, tmp_path: Path) -> None:
    outcome = run_command("adapters", "delete", "bundled", "--yes")
    assert (outcome.exit_code, outcome.out, outcome.err.count("\n")) == (1, "", 1)
    assert "is bundled with adavae and cannot be deleted" in outcome.err
    assert list((tmp_path / "weights" / "adapters" / "bundled").iterdir())


@pytest.mark.parametrize(("answer", "is_deleted"), [("n\n", False), ("\n", False), ("y\n", True)])
def test_on_a_terminal_it_asks_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], mine: Path, answer: str, is_deleted: bool
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    with pytest.raises(SystemExit) as stopped:
        main(["adapters", "delete", "mine"])
    captured = capsys.readouterr()
    assert (stopped.value.code == 0, mine.exists()) == (is_deleted, not is_deleted)
    assert f"Delete mine@{mine.name}" in captured.err
    assert "Delete" not in captured.out


def test_with_yes_it_does_not_ask(monkeypatch: pytest.MonkeyPatch, mine: Path) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(""))
    with pytest.raises(SystemExit) as stopped:
        main(["adapters", "delete", "mine", "--yes"])
    assert (stopped.value.code, mine.exists()) == (0, False)


class Terminal(io.StringIO):
    """A person who types."""

    def isatty(self) -> bool:
        return True


def test_a_set_that_computes_nothing_finite_is_neither_imported_nor_whole(
    run_command: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tiny_settings(tmp_path)
    monkeypatch.setenv("ADAVAE_WEIGHTS", str(settings.weights))
    monkeypatch.setenv("ADAVAE_DATA", str(tmp_path / "data"))
    good = publish_tiny(tmp_path / "elsewhere", settings.weights, "good", PLAIN, seed=1)
    largest = {name: torch.full_like(tensor, 65504.0) for name, tensor in tiny_set(PLAIN).tensors.items()}
    monkeypatch.setattr("tests.tiny_home.tiny_set", lambda *_: replace(tiny_set(PLAIN), tensors=largest))
    bad = publish_tiny(tmp_path / "elsewhere", settings.weights, "bad", PLAIN, seed=1)
    assert run_command("adapters", "import", str(good)).exit_code == 0
    refused = run_command("adapters", "import", str(bad))
    assert refused.exit_code == 1 and "was tried" in refused.err
    assert not (tmp_path / "data" / "adapters" / "bad").exists()
    shutil.copytree(bad, tmp_path / "data" / "adapters" / "bad" / bad.name)
    verified = run_command("adapters", "verify")
    problems = {record["adapter"]: record["problem"] for record in map(json.loads, verified.out.splitlines())}
    assert verified.exit_code == 1
    assert [name for name, problem in problems.items() if problem] == [f"bad@{bad.name}"]


def test_a_set_for_another_backbone_is_imported_and_said_not_to_be_tried(
    run_command: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tiny_settings(tmp_path)
    monkeypatch.setenv("ADAVAE_WEIGHTS", str(settings.weights))
    monkeypatch.setenv("ADAVAE_DATA", str(tmp_path / "data"))
    outcome = run_command("adapters", "import", str(publish(tmp_path / "elsewhere", name="other")))
    assert outcome.exit_code == 0
    assert "was not tried: it is for another backbone than bundled" in outcome.err


def test_without_a_backbone_sets_are_listed_and_imported_all_the_same(
    run_command: RunCommand, mine: Path, tmp_path: Path
) -> None:
    listed = run_command("adapters", "list")
    assert [json.loads(line)["name"] for line in listed.out.splitlines()] == ["bundled", "mine"]
    (tmp_path / "weights" / "backbone").mkdir()
    (tmp_path / "weights" / "backbone" / "config.json").write_text("{", encoding="utf-8")
    assert run_command("adapters", "list").out == listed.out
    outcome = run_command("adapters", "import", str(publish(tmp_path / "elsewhere", name="other")))
    assert outcome.exit_code == 0 and "was not tried: there is no backbone to try it with" in outcome.err
    assert mine.exists()

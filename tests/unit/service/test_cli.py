"""The command line without a model: exit codes, streams, help, and what needs no weights."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer

from adavae.model.errors import AdapterSetNotFound, TrainingInterrupted
from adavae.service import loading
from adavae.service.cli import create_app
from adavae.service.commands.completion import adapter_names
from tests.tiny import TINY
from tests.unit.service.conftest import RunCommand

COMMANDS = ("encode", "decode", "interpolate", "analogy", "classify", "train", "evaluate", "adapters", "variants")


def test_help_names_every_command(run_command: RunCommand) -> None:
    outcome = run_command("--help")
    assert outcome.exit_code == 0
    assert all(command in outcome.out for command in (*COMMANDS, "pretrain", "version"))


@pytest.mark.parametrize("command", [*COMMANDS, "pretrain", "version"])
def test_every_command_explains_itself(run_command: RunCommand, command: str) -> None:
    outcome = run_command(command, "--help")
    assert (outcome.exit_code, outcome.err) == (0, "")
    assert "Usage: adavae" in outcome.out


def _helps(command: Any) -> Iterator[str]:
    yield command.help or ""
    yield from (getattr(parameter, "help", None) or "" for parameter in command.params)
    for inner in getattr(command, "commands", {}).values():
        yield from _helps(inner)


def test_square_brackets_come_through_to_the_help() -> None:
    """Regression: what looks like a style was taken out, so `adavae[plot]` was shown as `adavae`."""
    helps = "\n".join(_helps(typer.main.get_command(create_app())))
    assert "adavae\\[plot]" in helps
    assert not re.findall(r"(?<!\\)\[[a-z#/@][^\[\]]*\]", helps)


def test_help_comes_without_loading_torch() -> None:
    program = "import sys, adavae.service.cli; adavae.service.cli.create_app(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_version_is_one_line(run_command: RunCommand) -> None:
    outcome = run_command("--version")
    assert (outcome.exit_code, outcome.err) == (0, "")
    assert re.fullmatch(r"adavae \d+\.\d+\.\d+\n", outcome.out)


@pytest.mark.parametrize(
    "arguments",
    [("classify", "-5 degrees"), ("interpolate", "warm", "-5"), ("analogy", "a", "- b", "c", "--samples", "1")],
)
def test_a_text_that_begins_with_a_dash_is_told_where_it_goes(
    run_command: RunCommand, arguments: tuple[str, ...]
) -> None:
    outcome = run_command(*arguments)
    assert (outcome.exit_code, outcome.out) == (2, "")
    assert "behind --" in " ".join(outcome.err.split())


def test_an_option_that_is_misspelt_is_no_text(run_command: RunCommand) -> None:
    outcome = run_command("classify", "-5 degrees", "--tpo-k", "3")
    assert outcome.exit_code == 2
    assert "behind --" in " ".join(outcome.err.split())
    outcome = run_command("classify", "a text", "--tpo-k", "3")
    assert "--top-k" in outcome.err


def test_names_of_adapter_sets_complete_on_tab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("mine/1a2b", "mine/3c4d", "other/5e6f", "mind it/7a8b", "half/9c0d"):
        (tmp_path / "adapters" / name).mkdir(parents=True)
        if not name.startswith("half"):
            (tmp_path / "adapters" / name / "manifest.json").touch()
    monkeypatch.setenv("ADAVAE_DATA", str(tmp_path))
    monkeypatch.setenv("ADAVAE_WEIGHTS", str(tmp_path / "none"))
    assert adapter_names("mi") == ["mine"]
    assert adapter_names("") == ["mine", "other"]
    assert adapter_names("mine@") == ["mine@1a2b", "mine@3c4d"]
    asked = {"_ADAVAE_COMPLETE": "complete_bash", "COMP_WORDS": "adavae classify --adapter o", "COMP_CWORD": "3"}
    done = subprocess.run(
        [sys.executable, "-m", "adavae.service"],
        env={**os.environ, **asked},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("other\n", "")
    monkeypatch.setenv("ADAVAE_DEVCIE", "misspelt")
    assert adapter_names("mi") == []


_ODD: dict[str, tuple[list[str], str | bytes, int]] = {
    "streams that are closed": (["sh", "-c", 'exec "$0" "$@" >&- 2>&- <&-'], "version", 0),
    "an encoding without the character": (["env", "PYTHONIOENCODING=latin-1"], "★", 2),
    "bytes that are not UTF-8": ([], b"caf\xe9", 2),
    "no home": (["env", "-u", "HOME"], "version", 0),
}


@pytest.mark.parametrize("case", _ODD)
def test_odd_surroundings_are_no_traceback(case: str) -> None:
    before, command, exit_code = _ODD[case]
    done = subprocess.run([*before, sys.executable, "-m", "adavae.service", command], capture_output=True, check=False)
    assert b"Traceback" not in done.stderr
    assert done.returncode == exit_code, done.stderr
    assert (b"No such command" in done.stderr) == (exit_code == 2)


@pytest.mark.parametrize("arguments", [["version", "--json"], ["variants"]])
def test_a_full_disk_is_one_line_and_exit_code_1(arguments: list[str]) -> None:
    """Python failed once more as it ended: 120, and "Exception ignored"."""
    with open("/dev/full", "w", encoding="utf-8") as full:
        command = ["env", "-u", "PYTHONUNBUFFERED", sys.executable, "-m", "adavae.service", *arguments]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 1
    assert done.stderr.decode() == "error: [Errno 28] No space left on device\n"


def test_texts_that_are_not_utf8_are_wrong_usage(run_command: RunCommand) -> None:
    for command in (["classify", "caf\udce9"], ["interpolate", "a", "caf\udce9"], ["traverse", "caf\udce9"]):
        outcome = run_command(*command)
        assert (outcome.exit_code, outcome.out) == (2, "")
        assert "not UTF-8" in outcome.err


def test_an_unknown_command_is_wrong_usage(run_command: RunCommand) -> None:
    outcome = run_command("encoed")
    assert (outcome.exit_code, outcome.out) == (2, "")
    assert "encode" in outcome.err


def test_an_unknown_option_is_wrong_usage(run_command: RunCommand) -> None:
    outcome = run_command("version", "--jsn")
    assert (outcome.exit_code, outcome.out) == (2, "")


def test_a_misspelt_setting_is_wrong_usage(run_command: RunCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADAVAE_DEVCIE", "cpu")
    outcome = run_command("version")
    assert (outcome.exit_code, outcome.out) == (2, "")
    assert outcome.err == "error: ADAVAE_DEVCIE is not a setting: did you mean ADAVAE_DEVICE?\n"


def _fails_with(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(loading, "load_text_model", fail)


def test_a_failure_is_one_line_without_a_traceback(run_command: RunCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    _fails_with(AdapterSetNotFound(f"no adapter set x; installed: {'name, ' * 100}"), monkeypatch)
    outcome = run_command("encode", "a text")
    assert (outcome.exit_code, outcome.out) == (1, "")
    assert outcome.err.startswith("error: no adapter set x")
    assert outcome.err.count("\n") == 1


def test_a_failure_of_the_system_is_one_line_too(run_command: RunCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    _fails_with(PermissionError(13, "Permission denied", "/somewhere"), monkeypatch)
    outcome = run_command("encode", "a text")
    assert (outcome.exit_code, outcome.err) == (1, "error: [Errno 13] Permission denied: '/somewhere'\n")


def test_an_interrupted_training_ends_with_130(run_command: RunCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    _fails_with(TrainingInterrupted("stopped after step 3"), monkeypatch)
    assert run_command("encode", "a text").exit_code == 130


def test_ctrl_c_ends_with_130(run_command: RunCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(loading, "load_text_model", interrupt)
    assert run_command("encode", "a text").exit_code == 130


def test_variants_are_one_json_object_a_line(run_command: RunCommand) -> None:
    outcome = run_command("variants", "--json")
    records = [json.loads(line) for line in outcome.out.splitlines()]
    assert (outcome.exit_code, outcome.err) == (0, "")
    assert records[0]["name"] == "AdaVAE"
    assert all(abs(each["share_percent"] - each["paper_percent"]) < 0.05 for each in records)


def test_version_is_json_where_stdout_is_no_terminal(run_command: RunCommand) -> None:
    record = json.loads(run_command("version").out)
    assert record["torch"].startswith("2.")
    assert record["default_adapter"] == "yelp"


def test_a_checkpoint_that_cannot_be_converted_is_one_line(run_command: RunCommand, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    outcome = run_command("convert", str(tmp_path / "old"), "--output", str(tmp_path / "new"))
    assert (outcome.exit_code, outcome.out, outcome.err.count("\n")) == (1, "", 1)
    assert "has no config.json" in outcome.err


@pytest.mark.parametrize("seed", ["-1", str(2**63), str(2**64), str(10**30)])
@pytest.mark.parametrize(
    "command",
    [
        ["evaluate", "--data", __file__],
        ["reproduce", "table1", "--data", "."],
        ["train", __file__, "--name", "a"],
        ["pretrain", __file__, "--output", "a"],
        ["decode", "--samples", "1", "--strategy", "sample"],
        ["interpolate", "a", "b", "--strategy", "sample"],
        ["analogy", "a", "b", "c", "--strategy", "sample"],
        ["variations", "a"],
        ["traverse", "a", "--dimension", "0", "--strategy", "sample"],
    ],
    ids=lambda command: command[0],
)
def test_a_seed_that_is_none_is_wrong_usage(
    run_command: RunCommand, monkeypatch: pytest.MonkeyPatch, command: list[str], seed: str
) -> None:
    """It was a traceback, or the end of a long run."""
    pretrained = SimpleNamespace(backbone=SimpleNamespace(config=TINY))
    monkeypatch.setattr(loading, "load_pretrained", lambda *_, **__: pretrained)
    outcome = run_command(*command, f"--seed={seed}")
    assert outcome.exit_code == 2, outcome.err
    assert "seed" in outcome.err

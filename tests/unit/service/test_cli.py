"""The command line without a model: exit codes, streams, help, and what needs no weights."""

import json
import subprocess
import sys

import pytest

from adavae.model.errors import AdapterSetNotFound, TrainingInterrupted
from adavae.service import loading
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


def test_help_comes_without_loading_torch() -> None:
    program = "import sys, adavae.service.cli; adavae.service.cli.create_app(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


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

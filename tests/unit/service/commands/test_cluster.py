"""``adavae cluster``: what it writes, and what it refuses before it asks Ray for anything."""

from pathlib import Path

import pytest
import yaml

from adavae.service.cli import main


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ADAVAE_API_KEYS", "ADAVAE_HOST", "ADAVAE_PORT", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)


def exit_code(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["cluster", *arguments])
    return int(ended.value.code or 0)


def test_a_serve_yaml_holds_the_settings_and_no_key(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("ADAVAE_API_KEYS", "a-key-of-the-tests-0123456789:infer")
    monkeypatch.setenv("ADAVAE_DECODE_ROWS", "8")
    assert exit_code("config", "--host", "0.0.0.0", "--port", "8123") == 0
    text = capsys.readouterr().out
    assert "a-key-of-the-tests" not in text
    config = yaml.safe_load(text)
    assert config["http_options"]["port"] == 8123
    assert config["applications"][0]["args"] == {
        "settings": {"decode_rows": 8, "host": "0.0.0.0"},
        "requires_keys": True,
    }
    assert exit_code("config", "--port", "8123", "--output", str(tmp_path / "serve.yaml")) == 0
    assert yaml.safe_load((tmp_path / "serve.yaml").read_text())["applications"][0]["args"]["requires_keys"] is False


@pytest.mark.parametrize("command", ["up", "config"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--host", "0.0.0.0"), "there are no API keys: set ADAVAE_API_KEYS"),
        (("--port", "0"), "ADAVAE_PORT is 0, and every machine of a cluster listens on the same port: name one"),
        (("--host", "nowhere.invalid"), "which is no address"),
    ],
)
def test_an_address_that_cannot_be_is_refused(
    command: str, options: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(command, *options) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_more_replicas_at_least_than_at_most_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ADAVAE_MIN_REPLICAS", "4")
    monkeypatch.setenv("ADAVAE_MAX_REPLICAS", "2")
    assert exit_code("config") == 2
    assert "ADAVAE_MAX_REPLICAS is 2, less than ADAVAE_MIN_REPLICAS, 4" in " ".join(capsys.readouterr().err.split())


def test_more_processes_than_a_job_reserves_gpus_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ADAVAE_TRAINING_PROCESSES", "2")
    monkeypatch.setenv("ADAVAE_TRAINING_GPUS", "1")
    assert exit_code("config") == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "ADAVAE_TRAINING_PROCESSES is 2, and a job reserves 1 GPUs" in said
    monkeypatch.setenv("ADAVAE_TRAINING", "queued")
    assert exit_code("config") == 0


def test_a_file_that_cannot_be_written_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert exit_code("config", "--output", str(tmp_path / "no" / "serve.yaml")) == 1
    assert "cannot be written" in " ".join(capsys.readouterr().err.split())

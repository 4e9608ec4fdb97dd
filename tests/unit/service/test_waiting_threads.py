"""Torch's threads sleep while they wait."""

import os
import subprocess
import sys

import pytest

from service.settings import let_waiting_threads_sleep


def test_waiting_threads_sleep_unless_the_environment_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    let_waiting_threads_sleep()
    assert os.environ["OMP_WAIT_POLICY"] == "passive"
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    let_waiting_threads_sleep()
    assert os.environ["OMP_WAIT_POLICY"] == "active"


def test_the_command_line_does_not_import_torch_before_a_command_runs() -> None:
    """OpenMP reads the policy when torch is imported; the commands' start would be slow too."""
    program = "import sys, service.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0

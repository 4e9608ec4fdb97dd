"""The benchmark for a GPU, every line of it, in small on a CPU: borrowed time must not end at a misspelt name."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_every_part_runs_and_every_check_holds(tmp_path: Path) -> None:
    output = tmp_path / "gpu.json"
    command = [sys.executable, "-m", "tests.bench.gpu", "--device", "cpu", "--smoke", "--rows", "12", "--mixes", "3"]
    done = subprocess.run(
        [*command, "--output", str(output)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(output.read_text(encoding="utf-8"))
    parts = {name: part["result"] for name, part in found.items() if name != "machine"}
    assert len(parts) > 12
    failed = {name: result["failed"] for name, result in parts.items() if "failed" in result}
    assert not failed
    checks = [check for result in parts.values() if isinstance(result, list) for check in result]
    assert len(checks) > 40
    assert [check for check in checks if not check["holds"]] == []
    assert parts["encode small"]["packed"]["tokens_per_s"]["median"] > 0
    assert "of the byte floor" in done.stdout

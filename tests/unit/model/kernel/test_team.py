"""Threads that work together: their run's number after the last, and chunks that throw."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from adavae.model.kernel import library
from adavae.model.kernel.build_hook import NotBuilt, compiler_of
from tests.parity.compiled import best_compiled
from tests.sanitized_kernel import runtimes

RUNS = Path(__file__).with_name("team_runs.cpp")
CSRC = Path(library.__file__).with_name("csrc")
NAMES = re.findall(r'^    \{"(\w+)",', RUNS.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Under AddressSanitizer, where the compiler has it."""
    best_compiled()
    try:
        watched = ["-fsanitize=address"] if runtimes() else []
        compiler = compiler_of(os.environ)
    except NotBuilt as exc:
        pytest.skip(str(exc))
    path = tmp_path_factory.mktemp("team") / "team_runs"
    sources = [str(RUNS), str(CSRC / "team.cpp")]
    command = [compiler, "-std=c++20", "-O1", "-g", "-pthread", *watched, f"-I{CSRC}", *sources, "-o", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return path


@pytest.mark.parametrize("name", NAMES)
def test_runs_that_seldom_happen(program: Path, name: str) -> None:
    """After 2^24 runs, a day of work, memory behind the last phase was read and called; a chunk that threw on a helper
    ended the process, and one that threw on the caller left helpers computing with what the caller had given back."""
    done = subprocess.run([str(program), name], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr

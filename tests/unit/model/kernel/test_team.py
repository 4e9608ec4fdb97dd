"""Threads that work together: their run's number after the last, chunks that throw, threads that cannot be started."""

import os
import re
import subprocess
import sys
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


WITHOUT_ROOM = """
import os, resource
from pathlib import Path
import torch
from adavae.model.kernel.library import LinearFields, check
from adavae.model.kernel.packing import KeptTensors
from tests.parity.compiled import best_compiled

compiled, kept = best_compiled(), KeptTensors()
x, output = torch.ones(2, 64), torch.zeros(2, 64)
matrix = kept.matrix(torch.ones(64, 64), None)

def product(threads):
    output.zero_()
    check(compiled.linear(LinearFields(matrix, 2, threads, 0, x.data_ptr(), output.data_ptr())))
    assert output.eq(64.0).all()

def num_threads():
    return len(os.listdir("/proc/self/task"))

product(threads=1)  # what is made once is there
before, limit = num_threads(), resource.getrlimit(resource.RLIMIT_AS)
in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (in_use + 2**20, limit[1]))  # less than the stack of a thread
product(threads=2)
assert num_threads() == before, "a thread was started: the limit does not reach it"
resource.setrlimit(resource.RLIMIT_AS, limit)
for _ in range(300):
    product(threads=2)
assert num_threads() == before + 1, "no thread was started when there was room"
"""


def test_where_no_thread_can_be_started_the_caller_goes_on_and_asks_again_later() -> None:
    """The exception went through to Python, which ended the process."""
    best_compiled()
    command = [sys.executable, "-W", "ignore", "-c", WITHOUT_ROOM]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr

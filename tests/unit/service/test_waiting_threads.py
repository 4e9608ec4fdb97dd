"""Torch's threads: how they wait for each other, how many of them work for whom."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from adavae.model.training.precision import multiplies_bfloat16
from adavae.service.engine.compute_threads import available_threads
from adavae.service.settings import keep_few_kernels, let_threads_wait_briefly


def test_waiting_threads_spin_briefly_unless_the_environment_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    let_threads_wait_briefly()
    assert os.environ["GOMP_SPINCOUNT"] == "7"
    monkeypatch.delenv("GOMP_SPINCOUNT")
    let_threads_wait_briefly()
    assert int(os.environ["GOMP_SPINCOUNT"]) <= 30_000
    monkeypatch.delenv("GOMP_SPINCOUNT")
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    let_threads_wait_briefly()
    assert "GOMP_SPINCOUNT" not in os.environ


def test_few_compiled_products_are_kept_unless_the_environment_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training grew by 80 MB a step: every new shape of a batch was compiled and kept."""
    monkeypatch.delenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", raising=False)
    monkeypatch.setenv("LRU_CACHE_CAPACITY", "7")
    keep_few_kernels()
    assert int(os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"]) <= 256
    assert os.environ["LRU_CACHE_CAPACITY"] == "7"


@pytest.mark.skipif(
    not multiplies_bfloat16(torch.device("cpu")), reason="a processor without bfloat16 has no products compiled for it"
)
def test_products_of_many_shapes_leave_memory_as_it_was() -> None:
    """Regression: it grew by 450 MiB, and without end. In a process of its own, because torch reads the bounds once."""
    program = """
import resource, sys
from adavae.service.settings import keep_few_kernels
keep_few_kernels()
import torch
torch.set_num_threads(1)
def used():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 2**20
weight = torch.zeros(256, 1024, dtype=torch.bfloat16)
for rows in range(1, 201):
    torch.zeros(rows, 256, dtype=torch.bfloat16) @ weight
before = used()
for rows in range(201, 801):
    torch.zeros(rows, 256, dtype=torch.bfloat16) @ weight
raise SystemExit(0 if used() - before < 400 else f"{used() - before:.0f} MiB more")
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_program_that_trains_keeps_few_too_though_it_has_imported_torch() -> None:
    """Regression: `adavae.train` in a notebook grew as the command had."""
    program = """
import os, torch, adavae
assert "LRU_CACHE_CAPACITY" not in os.environ
try:
    adavae.train(["a text", "another"], name="../no name")
except adavae.model.errors.ConfigError:
    raise SystemExit(os.environ["LRU_CACHE_CAPACITY"] != "256")
"""
    bare = {name: value for name, value in os.environ.items() if not name.endswith("_CACHE_CAPACITY")}
    subprocess.run([sys.executable, "-c", program], check=True, env=bare)


def test_the_command_line_does_not_import_torch_before_a_command_runs() -> None:
    """OpenMP reads the policy when torch is imported; the commands' start would be slow too."""
    program = "import sys, adavae.service.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_thread_keeps_its_number_whatever_another_sets() -> None:
    """Of torch's two levels the process's is what the next new thread takes; a thread that has begun keeps its own."""
    program = """
import threading, torch
from adavae.service.engine.compute_threads import alone, use_threads
use_threads(3)
seen = []
thread = threading.Thread(target=alone(lambda: seen.append(torch.get_num_threads())))
thread.start(); thread.join()
raise SystemExit(0 if (seen, torch.get_num_threads()) == ([1], 3) else f"{seen} {torch.get_num_threads()}")
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_container_with_less_than_the_machine_has_fewer_threads(tmp_path: Path) -> None:
    cpu_max = tmp_path / "cpu.max"
    without_limit = available_threads(cpu_max)
    assert without_limit >= 1
    cpu_max.write_text("max 100000\n")
    assert available_threads(cpu_max) == without_limit
    cpu_max.write_text("100000 100000\n")
    assert available_threads(cpu_max) == 1
    cpu_max.write_text("5000 100000\n")
    assert available_threads(cpu_max) == 1

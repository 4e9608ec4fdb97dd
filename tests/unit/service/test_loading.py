"""What a loaded set is used in: processes that are forked from the one that loaded it."""

import os
import subprocess
import sys
from pathlib import Path

from tests.tiny_home import tiny_settings

_PROGRAM = """
import os
import signal

import torch

import adavae

plain = adavae.load("plain")
torch.set_num_threads(2)
texts = [f"the food was good on day {day} ." for day in range(200)]


def answer():
    mu = plain.encode(texts).mu
    written = [each.text for each in plain.decode(mu[:3], max_tokens=5)]
    (torch.ones(400, 400) @ torch.ones(400, 400)).exp().sum()  # as on processors without compiled code
    return mu, written, [each.text for each in plain.sample(3, max_tokens=5)]


mu, *written = answer()
child = os.fork()
if child == 0:
    signal.alarm(30)
    again, *rewritten = answer()
    os._exit(0 if torch.equal(mu, again) and written == rewritten else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), torch.get_num_threads())
"""


def test_a_loaded_set_answers_in_a_forked_process(tmp_path: Path) -> None:
    """It waited for ever for threads of torch's that only the first process has."""
    settings = tiny_settings(tmp_path)
    environment = os.environ | {"ADAVAE_WEIGHTS": str(settings.weights), "ADAVAE_DATA": str(settings.data)}
    command = [sys.executable, "-c", _PROGRAM]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert ended.stdout.split() == ["0", "2"], ended.stderr

"""A training process that trains nothing: it behaves as its arguments say, in milliseconds, without torch.

train [STEPS]   says progress, leaves a checkpoint's name at every fifth step, obeys, publishes
getting-ready   reads texts, and never trains
slow            trains one step after a while, in which it says that it is alive
locked          holds its job's lock, and says nothing
fail | refuse | shout | exit | silent
"""

import json
import os
import sys
import threading
import time
from io import RawIOBase
from pathlib import Path

from adavae.service.jobs.records.attempt_files import attempt_directory
from adavae.service.jobs.records.claims import Claim, Claims
from adavae.service.jobs.records.job_errors import ClaimLost
from adavae.service.jobs.records.job_store import JobStore
from adavae.service.jobs.worker.child_protocol import DONE, FAILED, ORPHANED, STOP, STOPPED, SUPERSEDED, Line, Order

STEP_S = 0.02


def say(kind: str, **values: object) -> None:
    sys.stdout.buffer.write(Line(kind, values).encode())
    sys.stdout.buffer.flush()


def obey(commands: RawIOBase, should_stop: threading.Event) -> None:
    for command in commands:
        if command == STOP:
            should_stop.set()
    os._exit(ORPHANED)


def main() -> int:
    commands = os.fdopen(os.dup(0), "rb", buffering=0)
    order, should_stop = Order.from_line(commands.readline()), threading.Event()
    behaviour, *arguments = sys.argv[1:]
    if behaviour == "silent":  # it neither obeys nor ends
        threading.Event().wait()
    threading.Thread(target=obey, args=(commands, should_stop), daemon=True).start()
    match behaviour:
        case "getting-ready":  # for ever
            say("preparing", stage="read texts", done=0, total=0)
            say("preparing", stage="tokenize texts", done=0, total=2000)
            threading.Event().wait()
        case "fail":
            say("failure", code="storage_full", message="no room", param=None, is_final=False)
            return FAILED
        case "refuse":
            say("failure", code="invalid_training_file", message="bad line", param="training_file", is_final=True)
            return FAILED
        case "shout":
            sys.stderr.write("something terrible\n")
            sys.stdout.write("no line of ours\n[1, 2]\n")
            return 3
        case "slow":
            for _ in range(20):
                time.sleep(0.2)
                say("alive")
            return train(order, should_stop, 1)
        case "locked":
            with JobStore(Path(order.settings["data"]) / "jobs").changing(order.job_id):
                threading.Event().wait()
        case "exit":
            return int(arguments[0])
    return train(order, should_stop, int(arguments[0]) if arguments else 10)


def train(order: Order, should_stop: threading.Event, num_steps: int) -> int:
    data = Path(order.settings["data"])
    store = JobStore(data / "jobs")
    directory = attempt_directory(store.directory(order.job_id), order.attempt)
    claim = Claim(order.job_id, order.attempt, order.worker, directory)
    (directory / "checkpoints").mkdir(exist_ok=True)
    say("preparing", stage="read texts", done=0, total=0)
    say("started", step=0)
    say("note", text="a column is not read")
    say("preparing", stage="train", done=0, total=num_steps)
    figures: dict[str, object] = {}
    for step in range(1, num_steps + 1):
        if should_stop.is_set():
            return STOPPED
        time.sleep(STEP_S)
        if step % 5 == 0:
            (directory / "checkpoints" / f"step-{step:09d}.safetensors").touch()
        figures = {"step": step, "total_steps": num_steps, "loss": 1 / step, "tokens_per_s": 50.0, "beta": 1.0}
        say("progress", stage="training", eta_s=0.0, **figures)
    say("measuring", stage="encode", done=1, total=2)
    version = f"v{order.attempt}"
    try:
        with Claims(store, data / "adapters").publishing(claim, version, last_progress=figures):
            destination = data / "adapters" / store.get(order.job_id).adapter_name / version
            destination.mkdir(parents=True)
            (destination / "manifest.json").write_text(json.dumps({"metrics": {}, "training": {}}), encoding="utf-8")
    except ClaimLost:
        return SUPERSEDED
    return DONE


if __name__ == "__main__":
    sys.exit(main())

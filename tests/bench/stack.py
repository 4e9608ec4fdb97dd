"""The stack of docker-compose.yml as local processes: how soon it answers, and what memory each part needs.

python -m tests.bench.stack
"""

import tempfile
import time
from pathlib import Path

from adavae.service.commands.terminal import Output
from tests.compose_file import FORMS
from tests.e2e.compose_stack import KEY, Stack, running_stack
from tests.e2e.load import connect
from tests.tiny_text import as_tsv, reviews

_MIB = 1024**2


def main() -> None:
    with tempfile.TemporaryDirectory() as directory, running_stack(FORMS["cpu"], Path(directory)) as stack:
        started_s = time.monotonic()
        stack.up()
        healthy_s = time.monotonic() - started_s
        with connect(stack.url, KEY) as client:
            client.post("/encode", json={"text": "the food was great ."}).raise_for_status()
            answered_s = time.monotonic() - started_s
            idle = {name: container.resident_bytes() // _MIB for name, (container,) in stack.containers.items()}
            data = {"file": ("reviews.tsv", as_tsv(reviews(200)).encode())}
            file = client.post("/v1/files", files=data, data={"purpose": "fine-tune"}).raise_for_status().json()
            body = {"model": "bundled", "training_file": file["id"], "suffix": "mine", "hyperparameters": {"steps": 20}}
            job = client.post("/v1/fine_tuning/jobs", json=body).raise_for_status().json()
            path = f"/v1/fine_tuning/jobs/{job['id']}"
            stack.wait_for(lambda: client.get(path).json()["status"] not in ("queued", "running"))
        Output.of(wants_json=True).write_object(
            {
                "all_healthy_s": round(healthy_s, 2),
                "first_answer_s": round(answered_s, 2),
                "idle_mib": idle,
                "peak_mib_after_training": peaks(stack),
            }
        )


def peaks(stack: Stack) -> dict[str, int]:
    return {name: container.note_memory() // _MIB for name, (container,) in stack.containers.items()}


if __name__ == "__main__":
    main()

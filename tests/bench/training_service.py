"""From labelled sentences to a served adapter set with a head, while the service keeps answering.

    python -m tests.bench.training_service yelp/train.tsv --rows 5000

Sends the first rows to an ``adavae serve`` that trains by itself, and measures the time from the upload to the first
answer of the new set; beside it, one client's requests for another set before and during the training. Writes one JSON
object to stdout.
"""

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx2

from adavae.service.client.training import TrainingClient
from tests.bench.http_speed import HOST, sentence
from tests.bench.load import Connection
from tests.bench.served import served
from tests.bench.side_by_side import percentile

_QUIET_S = 20.0
_PER_S = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="Labelled texts, .tsv.")
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--epochs", type=float, default=None, help="The preset's if left out.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="training-") as directory:
        texts = Path(directory) / "texts.tsv"
        with options.data.open(encoding="utf-8") as lines:
            texts.write_text("".join(line for _, line in zip(range(options.rows + 1), lines, strict=False)))
        data = Path(directory) / "data"
        data.mkdir()
        with served(data, training="embedded") as server:
            sys.stdout.write(json.dumps(asyncio.run(_measure(server.port, texts, options.epochs))) + "\n")


async def _measure(port: int, texts: Path, epochs: float | None) -> dict[str, Any]:
    quiet: list[float] = []
    during: list[float] = []
    await _traffic(port, quiet, asyncio.create_task(asyncio.sleep(_QUIET_S)))
    training = asyncio.create_task(asyncio.to_thread(_train, f"http://{HOST}:{port}", texts, epochs))
    await _traffic(port, during, training)
    return {**training.result(), "quiet": _latency(quiet), "while_training": _latency(during)}


async def _traffic(port: int, milliseconds: list[float], until: "asyncio.Task[Any]") -> None:
    """Sends a new text a few times a second; every request must be answered."""
    connection, draw = Connection(HOST, port), random.Random(f"{until.get_name()}")
    while not until.done():
        began = time.perf_counter()
        status, _ = await connection.post("/encode", {"text": sentence(draw), "adapter": "yelp"})
        milliseconds.append((time.perf_counter() - began) * 1000)
        assert status == 200, status
        await asyncio.sleep(1 / _PER_S)
    connection.close()


def _train(url: str, texts: Path, epochs: float | None) -> dict[str, Any]:
    began = time.perf_counter()
    hyperparameters = {} if epochs is None else {"n_epochs": epochs}
    with TrainingClient(url) as client:
        file_id = client.upload(texts)["id"]
        request = {"model": "bundled", "suffix": "five", "training_file": file_id, "hyperparameters": hyperparameters}
        job = client.create(request)
        for _ in client.events(job["id"]):
            pass
        job = client.job(job["id"])
    ended = time.perf_counter()
    assert job["status"] == "succeeded", job["error"]
    body = {"text": "the food was great.", "adapter": job["fine_tuned_model"]}
    reply = httpx2.post(f"{url}/classify", json=body)
    answered = time.perf_counter()
    metrics = job["metrics"]
    return {
        "rows": job["report"]["training_file"]["rows"],
        "upload_to_answer_s": round(answered - began, 1),
        "succeeded_to_answer_s": round(answered - ended, 2),
        "answer": (reply.status_code, reply.json()["data"][0]["label"]),
        "validation_rows": metrics["rows"],
        **{name: metrics[name] for name in ("accuracy", "macro_f1", "bleu4", "kl", "mi", "au")},
        "steps": job["progress"]["total_steps"],
    }


def _latency(milliseconds: list[float]) -> dict[str, float]:
    shares = {"p95": percentile(milliseconds, 0.95), "p99": percentile(milliseconds, 0.99)}
    figures = {"p50": statistics.median(milliseconds), **shares, "max": max(milliseconds)}
    return {"requests": len(milliseconds), **{f"{name}_ms": round(value, 1) for name, value in figures.items()}}


if __name__ == "__main__":
    main()

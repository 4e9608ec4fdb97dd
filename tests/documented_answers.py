"""``python -m tests.documented_answers [URL]``: what the service answers to the examples of /docs, kept for that page.

Each request is the first example of its operation, sent to ``adavae serve`` over the bundled sets, or to the one at
URL. Vectors are cut to their first numbers, which the page says.
"""

import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2

from tests.integration.served import served

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "service" / "http" / "answers.json"
_KEPT_NUMBERS = 4
_LONGEST_LIST = 16  # of numbers, which is no vector yet


def examples(description: dict[str, Any]) -> dict[str, Any]:
    """The first example of each operation on texts, by its path."""
    found = {}
    for path, methods in description["paths"].items():
        if path.startswith("/v1/") and path != "/v1/embeddings":
            continue
        content = methods.get("post", {}).get("requestBody", {}).get("content", {}).get("application/json")
        if content is not None:
            name = content["schema"]["$ref"].rpartition("/")[2]
            found[path] = description["components"]["schemas"][name]["examples"][0]
    return found


def shortened(value: Any) -> Any:
    """The same with long lists of numbers cut."""
    if isinstance(value, dict):
        return {name: shortened(each) for name, each in value.items()}
    if not isinstance(value, list):
        return value
    is_vector = len(value) > _LONGEST_LIST and all(isinstance(each, float | int) for each in value)
    return value[:_KEPT_NUMBERS] if is_vector else [shortened(each) for each in value]


def answered(client: httpx2.Client) -> dict[str, Any]:
    """Request and reply of each example."""
    found = {}
    for path, request in examples(client.get("/openapi.json").json()).items():
        reply = client.post(path, json=request)
        reply.raise_for_status()
        found[path] = {"request": request, "reply": shortened(reply.json())}
    return found


@contextlib.contextmanager
def _service() -> Iterator[str]:
    """The address of a service over the bundled sets."""
    variables = {"ADAVAE_WEIGHTS": str(ROOT / "weights"), "ADAVAE_DEFAULT_ADAPTER": "yelp", "ADAVAE_MAX_TOKENS": "48"}
    with tempfile.TemporaryDirectory() as home, served(Path(home), **variables) as server:
        yield server.url()


def main() -> None:
    """Writes the file."""
    place = _service() if len(sys.argv) == 1 else contextlib.nullcontext(sys.argv[1])
    with place as url, httpx2.Client(base_url=url, timeout=600) as client:
        found = answered(client)
    FILE.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    sys.stdout.write(f"{len(found)} answers are in {FILE.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()

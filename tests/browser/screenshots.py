"""The README's pictures of the playground, made anew from the bundled sets alone: walk, map, training.

    python -m tests.browser.screenshots [FOLDER]

The texts on the map and in training are sentences that the set `yelp` writes itself, with the labels of its head.
"""

import base64
import json
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from playwright.sync_api import Browser, Page

from tests.browser.chromium import chromium
from tests.integration.served import served

_FOLDER = Path(__file__).parent / "screenshots"
_WEIGHTS = Path(__file__).resolve().parents[2] / "weights"
_SENTENCES, _STEPS = 512, 80
_SERVICE = {
    "ADAVAE_DEFAULT_ADAPTER": "yelp",
    "ADAVAE_DECODE_ROWS": "64",
    "ADAVAE_MAX_TOKENS": "48",
    "ADAVAE_THREADS": "0",
}
_ENDS = {
    "source": "the waiter was rude and the food was cold.",
    "target": "we loved the food and the staff was friendly.",
}
_WALK = f"#/walk?{urlencode(_ENDS | {'at': 4})}"


def main(folder: Path = _FOLDER) -> None:
    """Writes walk.webp, map.webp and training.webp."""
    folder.mkdir(parents=True, exist_ok=True)
    variables = {"ADAVAE_WEIGHTS": str(_WEIGHTS), "ADAVAE_TRAINING_THREADS": "0", **_SERVICE}
    with tempfile.TemporaryDirectory() as home, served(Path(home), **variables) as server, chromium() as browser:
        origin = server.url()
        _walk(_tab(browser, f"{origin}/{_WALK}"), folder / "walk.webp")
        table = _written(origin)
        _map(_tab(browser, f"{origin}/#/map", color_scheme="dark"), table, folder / "map.webp")
        _training(_tab(browser, f"{origin}/#/train"), table, folder / "training.webp")


def _walk(page: Page, path: Path) -> None:
    page.wait_for_selector("[data-made] .trail li")
    page.wait_for_timeout(300)
    _save(page, path)


def _map(page: Page, table: bytes, path: Path) -> None:
    page.set_input_files("input[type=file]", [{"name": "reviews.tsv", "mimeType": "text/plain", "buffer": table}])
    page.wait_for_selector(f"[data-drawn='pca {len(table.splitlines()) - 1}']", timeout=120_000)
    page.wait_for_selector(".map-side .hero-sentence")
    page.evaluate("scrollTo(0, 0)")
    page.locator(".map-tools").get_by_text("Walk", exact=True).click()
    box = page.locator(".map-canvas").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.75)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + box["height"] * 0.25, steps=6)
    page.mouse.up()
    page.wait_for_selector(".map-side .trail li")
    page.mouse.move(0, 0)
    page.wait_for_timeout(300)
    _save(page, path)


def _training(page: Page, table: bytes, path: Path) -> None:
    page.set_input_files("input[type=file]", [{"name": "reviews.tsv", "mimeType": "text/plain", "buffer": table}])
    page.wait_for_selector("#job-name")
    page.locator("summary", has_text="More").click()
    for label, value in (("Steps", _STEPS), ("Texts a step", 16), ("Size of z", 64)):
        page.get_by_label(label).fill(str(value))
    page.get_by_role("button", name="Train").click()
    page.wait_for_selector(f"[data-points='{_STEPS // 10 - 2}']", timeout=1_800_000)
    page.wait_for_timeout(500)
    _save(page, path)


def _save(page: Page, path: Path) -> None:
    """As WebP, which Chromium writes and playwright has no name for."""
    taken = page.context.new_cdp_session(page).send("Page.captureScreenshot", {"format": "webp", "quality": 88})
    path.write_bytes(base64.b64decode(taken["data"]))


def _tab(browser: Browser, url: str, **options: Any) -> Page:
    page = browser.new_context(viewport={"width": 1280, "height": 860}, **options).new_page()
    page.goto(url)
    return page


def _written(origin: str) -> bytes:
    """Labelled sentences as a table: drawn from the set's prior, fragments left out, labelled by its head."""
    texts: dict[str, None] = {}
    for seed in range(0, 4 * _SENTENCES, 64):
        rows = _posted(f"{origin}/decode", {"samples": 64, "decoding": {"seed": seed}})
        texts |= {row["text"].strip(): None for row in rows if row["finish_reason"] == "stop" and len(row["text"]) > 15}
        if len(texts) >= _SENTENCES:
            break
    labels: list[str] = []
    for start in range(0, len(texts), 128):
        rows = _posted(f"{origin}/classify", {"texts": list(texts)[start : start + 128], "top_k": 1})
        labels += [row["label"] for row in rows]
    lines = [f"{label}\t{text}" for label, text in zip(labels, texts, strict=True)]
    return "\n".join(["label\ttext", *lines, ""]).encode()


def _posted(url: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as reply:
        rows: list[dict[str, Any]] = json.load(reply)["data"]
    return rows


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))

"""How fast the playground is in a real browser: first paint, a walk after a key, panning a map of 2,000 points.

Reports, asserts none:

python -m tests.bench.page_speed
"""

import json
import random
import statistics
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, CDPSession, Page

from adavae.service.http.page import page_files
from tests.bench.served import served
from tests.browser.chromium import chromium

_POINTS, _LOADS, _KEYS, _FRAMES = 2000, 7, 15, 240

# Time from the last key to the new sentence, including the page's wait for a pause.
# The second number is the time until sentences that came twice have been replaced.
_KEY_TO_ANSWER = """async (text) => {
  const area = document.querySelector("textarea[name=target]");
  const list = document.querySelector(".trail");
  const begun = performance.now();
  area.value = text;
  area.dispatchEvent(new Event("input", { bubbles: true }));
  await new Promise((resolve) => new MutationObserver((_, own) => { own.disconnect(); resolve(); })
    .observe(list, { childList: true }));
  await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
  const first = performance.now() - begun;
  const panel = document.querySelector(".panel");
  while (!panel.dataset.made) await new Promise((resolve) => requestAnimationFrame(resolve));
  return [first, performance.now() - begun];
}"""

# Pans and zooms by pointer events, one of each per frame, and records how long each frame took.
_PAN = """async (frames) => {
  const box = document.querySelector(".map-canvas");
  const canvas = box.querySelector("canvas");
  const place = box.getBoundingClientRect();
  const at = (frame) => ({
    clientX: place.x + 300 + 150 * Math.sin(frame / 20), clientY: place.y + 250 + 90 * Math.cos(frame / 15),
    bubbles: true, cancelable: true, button: 0, buttons: 1,
  });
  const took = [];
  canvas.dispatchEvent(new MouseEvent("mousedown", at(0)));
  let last = performance.now();
  for (let frame = 1; frame <= frames; frame += 1) {
    canvas.dispatchEvent(new MouseEvent("mousemove", at(frame)));
    if (frame % 3 === 0) box.dispatchEvent(new WheelEvent("wheel", { ...at(frame), deltaY: frame % 2 ? 12 : -12 }));
    await new Promise((resolve) => requestAnimationFrame(resolve));
    const now = performance.now();
    took.push(now - last);
    last = now;
  }
  canvas.dispatchEvent(new MouseEvent("mouseup", at(frames)));
  return took.slice(10);
}"""


def main() -> None:
    """One JSON object: figures in milliseconds and bytes."""
    with tempfile.TemporaryDirectory() as data, served(Path(data)) as server, chromium() as browser:
        origin = f"http://127.0.0.1:{server.port}"
        keys = _keys(browser, origin)
        frames, busy_ms = _frames(browser, origin)
        figures = {
            "bytes": sum(min(len(_packed(path)), path.stat().st_size) for path in page_files().values()),
            **_loads(browser, origin),
            "key_to_answer_ms": _spread([first for first, _ in keys]),
            "key_to_whole_answer_ms": _spread([last for _, last in keys]),
            "frame_ms_at_2000_points": _spread(frames),
            "processor_ms_a_frame_at_2000_points": round(busy_ms, 2),
        }
    print(json.dumps(figures, indent=2))  # noqa: T201


def _packed(path: Path) -> bytes:
    import gzip

    return gzip.compress(path.read_bytes())


def _loads(browser: Browser, origin: str) -> dict[str, Any]:
    """First paint and first walk of fresh profiles."""
    paints, walks = [], []
    for _ in range(_LOADS):
        page = _fresh(browser)
        page.goto(f"{origin}/")
        page.wait_for_selector(".trail li")
        walks.append(page.evaluate("performance.now()"))
        paints.append(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
        page.context.close()
    return {"first_paint_ms": _spread(paints), "first_walk_ms": _spread(walks)}


def _keys(browser: Browser, origin: str) -> list[tuple[float, float]]:
    page = _fresh(browser)
    page.goto(f"{origin}/")
    page.wait_for_selector("[data-made] .trail li")
    return [tuple(page.evaluate(_KEY_TO_ANSWER, f"my room number {number} was clean.")) for number in range(_KEYS)]


def _frames(browser: Browser, origin: str) -> tuple[list[float], float]:
    """Milliseconds from frame to frame, and what of the processor the page's main thread took for one.

    The second hardly depends on what else the machine does. With random texts: drawing costs the same whatever they
    say.
    """
    draw = random.Random(0)
    words = ["the", "a", "food", "staff", "room", "service", "was", "is", "great", "bad", "cold", "slow", "never"]
    texts = [f"{draw.choice('ab')}\t{' '.join(draw.choices(words, k=8))}" for _ in range(_POINTS)]
    page = _fresh(browser)
    page.goto(f"{origin}/#/map")
    content = "\n".join(["label\ttext", *texts]).encode()
    page.set_input_files("input[type=file]", [{"name": "a.tsv", "mimeType": "text/plain", "buffer": content}])
    page.wait_for_selector(f"[data-drawn='pca {_POINTS}']", timeout=120_000)
    page.wait_for_selector(".map-side .hero-sentence")
    inspector = page.context.new_cdp_session(page)
    inspector.send("Performance.enable", {"timeDomain": "threadTicks"})
    before_s = _busy_s(inspector)
    frames: list[float] = page.evaluate(_PAN, _FRAMES)
    return frames, 1000 * (_busy_s(inspector) - before_s) / _FRAMES


def _busy_s(inspector: CDPSession) -> float:
    """Processor time of the main thread's tasks so far."""
    metrics = inspector.send("Performance.getMetrics")["metrics"]
    return float(next(each["value"] for each in metrics if each["name"] == "TaskDuration"))


def _fresh(browser: Browser) -> Page:
    return browser.new_context(viewport={"width": 1280, "height": 900}).new_page()


def _spread(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        "median": round(statistics.median(ordered), 1),
        "p95": round(ordered[int(0.95 * (len(ordered) - 1))], 1),
        "max": round(ordered[-1], 1),
    }


if __name__ == "__main__":
    main()

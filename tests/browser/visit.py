"""A page that is watched: what it logs as an error and what it asks of anybody but its own service comes to light."""

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, expect

PATIENCE_MS = 60_000
_REFUSED = "Failed to load resource"  # Chromium's own line for every reply that is no success


@dataclass
class Visit:
    """One tab on a service; ``check`` at the end says that nothing went wrong unseen."""

    page: Page
    origin: str
    errors: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    refusals_are_fine: bool = False

    def open(self, address: str = "") -> Page:
        self.page.goto(f"{self.origin}/{address}")
        return self.page

    def check(self) -> None:
        unexpected = [line for line in self.errors if not (self.refusals_are_fine and _REFUSED in line)]
        assert not unexpected, unexpected
        assert not self.outside, self.outside


def visit(browser: Browser, origin: str, *, refusals_are_fine: bool = False, **options: Any) -> Visit:
    """A fresh tab; ``options`` are those of a browser context: viewport, color_scheme."""
    context = browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | options))
    context.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    page = context.new_page()
    visited = Visit(page, origin, refusals_are_fine=refusals_are_fine)
    page.on("console", lambda message: visited.errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: visited.errors.append(str(error)))
    page.on("request", lambda request: _note_outside(visited, request.url))
    return visited


def _note_outside(visit: Visit, url: str) -> None:
    if urlsplit(url).scheme in ("http", "https", "ws", "wss") and not url.startswith(f"{visit.origin}/"):
        visit.outside.append(url)

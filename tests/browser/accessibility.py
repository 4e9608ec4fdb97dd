"""What axe finds in a page as it stands."""

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect


def serious(page: Page) -> list[tuple[str, str]]:
    """Rule and element of each violation that is serious or critical, once nothing is dimmed for being out of date."""
    expect(page.locator("[aria-busy=true]")).to_have_count(0)
    page.evaluate("Promise.all(document.getAnimations().map((each) => each.finished.catch(() => {})))")
    found = Axe().run(page).response["violations"]
    return [
        (each["id"], node["html"][:200])
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]

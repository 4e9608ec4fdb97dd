"""The project's Markdown pages as tests read them: links, headings, code, and lists of files."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_TREE_LINE = re.compile(r"(?P<indent>(?:  )*)(?P<name>[^ ]+)(?: {2,}(?P<what>\S.*))?")


@dataclass(frozen=True, slots=True)
class Page:
    """One Markdown file; ``name`` is its path from the root."""

    name: str

    @property
    def path(self) -> Path:
        return ROOT / self.name

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @property
    def prose(self) -> str:
        """Everything outside blocks of code."""
        return _FENCE.sub("", self.text)

    def blocks(self, language: str) -> list[str]:
        """Blocks of code in a language, '' for those that name none."""
        return [body for named, body in _FENCE.findall(self.text) if named == language]

    def spans(self) -> list[str]:
        """Code within the prose."""
        return re.findall(r"`([^`\n]+)`", self.prose)

    def links(self) -> list[str]:
        return _LINK.findall(self.prose)

    def anchors(self) -> set[str]:
        """What a link may name after its #, as GitHub makes it of headings."""
        headings = re.findall(r"^#+ (.+)$", self.prose, re.M)
        return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def pages() -> list[Page]:
    """Every page that somebody wrote for this project; model cards are made by its code."""
    found = [
        path.relative_to(ROOT)
        for folder in ("model", "service", "weights/backbone", "tests", "docker")
        for path in (ROOT / folder).rglob("*.md")
    ]
    return [Page("README.md"), *(Page(path.as_posix()) for path in sorted(found))]


def listed(page: Page) -> list[str]:
    """Paths in the page's list of files, from the root, folders with a '/' at their end."""
    (tree,) = (block for block in page.blocks("") if re.match(r"\w+/\n", block))
    return list(_paths(tree))


def _paths(tree: str) -> Iterator[str]:
    within: list[str] = []
    for line in tree.splitlines():
        match = _TREE_LINE.fullmatch(line)
        assert match is not None, f"not a line of a list of files: {line!r}"
        within = [*within[: len(match["indent"]) // 2], match["name"].rstrip("/")]
        yield "/".join(within) + ("/" if match["name"].endswith("/") else "")

"""What the project's pages say of files and settings is so: links, lists of files, steps, paths, the table."""

import importlib.util
import os
import re
from collections import Counter
from pathlib import Path

import pytest

from adavae.service.settings_table import settings_table
from tests.pages import ROOT, Page, listed, pages

README, DOCKER, TESTS = Page("README.md"), Page("docker/README.md"), Page("tests/README.md")
PAGES = [page for page in pages() if page.name != "tests/bench/RESULTS.md"]  # which tells of other days, too
SOURCE = {".py", ".js", ".css", ".html", ".svg", ".h", ".cpp"}
OTHERS = ("service/page/vendor/", "service/static/")  # files of others, told of in pages of their own


def by_name(page: Page) -> str:
    return page.name


def sources(room: str) -> set[str]:
    """Files of our own writing in a room, however deep."""
    found = {path.relative_to(ROOT).as_posix() for path in (ROOT / room).rglob("*") if path.suffix in SOURCE}
    return {name for name in found if not name.startswith(OTHERS) and not name.endswith("/__init__.py")}


def listed_once(page: Page) -> set[str]:
    """Files that the page's list names, each once."""
    paths = listed(page)
    assert [path for path, count in Counter(paths).items() if count > 1] == []
    return {path for path in paths if not path.endswith("/")}


def test_the_table_of_settings_is_the_settings() -> None:
    remedy = "paste what `python -m adavae.service.settings_table` prints into docker/README.md"
    assert settings_table() in DOCKER.text, remedy


@pytest.mark.parametrize("room", ["model", "service"])
def test_every_source_file_has_its_line_and_every_line_its_file(room: str) -> None:
    """Only the files on top were looked for, and a name anywhere in the text was enough: ``jobs/`` was one line."""
    assert listed_once(Page(f"{room}/README.md")) == sources(room)


def test_every_file_of_the_tests_but_the_tests_themselves_has_its_line() -> None:
    tests = {name for name in sources("tests") if name.rpartition("/")[2].startswith(("test_", "conftest"))}
    assert listed_once(TESTS) == sources("tests") - tests


@pytest.mark.parametrize(
    "page", [page for page in PAGES if "\n## Files\n" in page.text and page != README], ids=by_name
)
def test_what_a_list_of_files_names_is_there(page: Page) -> None:
    paths = listed(page)
    assert [path for path in paths if not (ROOT / path).exists()] == []
    assert [path for path in paths if (ROOT / path).is_dir() is not path.endswith("/")] == []


@pytest.mark.parametrize("room", ["model", "service"])
def test_every_folder_of_the_code_has_its_line(room: str) -> None:
    folders = {name.rpartition("/")[0] + "/" for name in sources(room)}
    assert folders - set(listed(Page(f"{room}/README.md"))) == set()


@pytest.mark.parametrize("page", pages(), ids=by_name)
def test_every_link_leads_somewhere(page: Page) -> None:
    assert [link for link in page.links() if not re.match(r"[a-z]+:", link) and not leads_somewhere(page, link)] == []


def leads_somewhere(page: Page, link: str) -> bool:
    target, _, anchor = link.partition("#")
    path = Path(os.path.normpath(page.path.parent / target)) if target else page.path
    if not (path.exists() and path.is_relative_to(ROOT)):
        return False
    return not anchor or anchor in Page(path.relative_to(ROOT).as_posix()).anchors()


def test_the_page_of_every_room_is_linked_from_the_first_one() -> None:
    rooms = {f"{room}/README.md" for room in ("model", "service", "tests", "docker")}
    assert rooms - {link.partition("#")[0] for link in README.links()} == set()


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_every_path_that_is_named_is_there(page: Page) -> None:
    """From the root, or from the folder of the page."""
    rooms = ("model/", "service/", "tests/", "docker/", "weights/", ".ci/")
    named = [span for span in page.spans() if span.startswith(rooms) and re.fullmatch(r"[\w./-]+", span)]
    made = {"docker/secrets/api_keys", "docker/secrets/redis_password"}  # by whoever starts the service
    missing = [path for path in named if not (ROOT / path).exists() and not (page.path.parent / path).exists()]
    assert set(missing) - made == set()


def test_every_step_of_the_walk_through_the_code_names_files_that_are_there() -> None:
    """From the root, or beside a file that the step named whole."""
    steps = re.findall(r"^\d+\. .*(?:\n   .*)*", README.text, re.M)
    assert len(steps) == 20
    for step in steps:
        named = re.findall(r"`([\w/]+\.py)`", step)
        assert named, f"names no file: {step}"
        folders = {ROOT, *((ROOT / name).parent for name in named)}
        assert [name for name in named if not any((folder / name).is_file() for folder in folders)] == []


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_every_module_that_is_run_is_there(page: Page) -> None:
    modules = re.findall(r"python -m ((?:adavae|tests)\.\w[\w.]*\w)", page.text)
    assert [name for name in modules if importlib.util.find_spec(name) is None] == []

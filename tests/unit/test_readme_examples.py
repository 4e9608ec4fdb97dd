"""What the project's pages show can be done: commands with their options, variables, requests, Python."""

import ast
import inspect
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.core import TyperCommand, TyperGroup

import adavae
from adavae.model.loaded_set import LoadedSet
from adavae.service.cli import create_app
from adavae.service.client.latent import AdaVAEClient
from adavae.service.settings import Settings
from tests.pages import ROOT, Page
from tests.unit.service.http_client import client_of
from tests.unit.service.stub_latent_service import StubLatentService, state
from tests.unit.test_readme import PAGES, README, by_name

DEFAULT = str(Settings.model_fields["default_adapter"].default)


def bundled() -> dict[str, dict[str, Any]]:
    """Manifest of every bundled set."""
    found = (ROOT / "weights" / "adapters").glob("*/*/manifest.json")
    manifests = [json.loads(path.read_text("utf-8")) for path in found]
    return {manifest["name"]: manifest for manifest in manifests}


def lines(page: Page, *languages: str) -> list[str]:
    return [
        line
        for language in languages
        for block in page.blocks(language)
        for line in block.replace("\\\n", " ").splitlines()
    ]


def the_command() -> TyperGroup:
    command = typer.main.get_command(create_app())
    assert isinstance(command, TyperGroup)
    return command


def commands(page: Page) -> Iterator[tuple[str, list[str]]]:
    """Every use of ``adavae`` in code: as it is shown, and its arguments."""
    for text in [line.removeprefix("$ ") for line in lines(page, "sh", "console")] + page.spans():
        for part in re.split(r"\s(?:\\?\||&&|#)\s", text):
            typed = re.sub(r"^(?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?", "", part)
            words = re.split(r"[\s|]+", typed)
            if words[0] == "adavae" and len(words) > 1:
                yield text, words[1:]


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_commands_that_are_shown_exist_with_their_options(page: Page) -> None:
    for text, words in commands(page):
        for command, rest in named_commands(the_command(), words):
            assert command is not None, f"no such command: {text}"
            used = {word.partition("=")[0] for word in rest if word.startswith("--")}
            assert used <= options(command), text


def named_commands(group: TyperGroup, words: list[str]) -> Iterator[tuple[TyperCommand | TyperGroup | None, list[str]]]:
    """The commands that ``words`` name, `list/show` naming two; None for one that is not there."""
    for name in words[0].split("/"):
        command = group.commands.get(name)
        if isinstance(command, TyperGroup) and words[1:] and not words[1].startswith("-"):
            yield from named_commands(command, words[1:])
        else:
            assert command is None or isinstance(command, TyperCommand | TyperGroup)
            yield command, words[1:]


def options(command: TyperCommand | TyperGroup) -> set[str]:
    named = {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
    inner = command.commands.values() if isinstance(command, TyperGroup) else ()
    return named.union(*(options(each) for each in inner if isinstance(each, TyperCommand | TyperGroup)))


def test_every_command_is_shown_on_the_first_page() -> None:
    shown = {name for _, words in commands(README) for name in words[0].split("/")}
    assert set(the_command().commands) - shown == set()


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_options_in_the_prose_are_options_of_some_command(page: Page) -> None:
    spans = [span for span in page.spans() if not re.search(r"docker compose |^up -d", span)]
    named = {option for span in spans for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", span)}
    gone = {"--interpolations"} if page == README else set()  # the changelog says what it is called now
    assert named - options(the_command()) == gone


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_variables_that_are_named_exist(page: Page) -> None:
    files = [ROOT / "docker-compose.yml", *(ROOT / "docker").glob("*.yml")]
    of_compose = {name for path in files for name in re.findall(r"\$\{(ADAVAE_\w+)", path.read_text("utf-8"))}
    settings = {f"ADAVAE_{name.upper()}" for name in Settings.model_fields}
    assert set(re.findall(r"\bADAVAE_[A-Z_]+[A-Z]", page.text)) - settings - of_compose == set()


def test_the_two_commands_install_what_there_is_and_ci_does_the_same() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    run, test = (block.strip() for block in README.blocks("sh")[:2])
    install = "python3 -m venv .venv && .venv/bin/pip install -c docker/constraints.txt"
    assert run == f"{install} . && .venv/bin/adavae serve"
    assert test == f"{install} -e '.[dev]' && .venv/bin/pytest -n 2"
    assert "adavae" in project["scripts"] and "dev" in project["optional-dependencies"]
    assert "-c docker/constraints.txt -e '.[dev]'\n" in (ROOT / ".ci" / "run").read_text("utf-8")


def test_uv_takes_torch_from_the_index_that_the_page_names() -> None:
    uv = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["uv"]
    (index,), (source,) = uv["index"], uv["sources"]["torch"]
    assert (index["name"], index["explicit"]) == (source["index"], True)
    assert f"--extra-index-url {index['url']} -c docker/constraints.txt .\n" in README.text


def requests(page: Page) -> list[tuple[str, str | None]]:
    """Path and body of every curl; uploads, and what needs an id from an answer, are left out."""
    found = []
    for line in lines(page, "sh"):
        if line.startswith("curl ") and "-F" not in line and "..." not in line:
            words = shlex.split(line)
            (address,) = [word for word in words if word.startswith("localhost:8000/")]
            found.append((address.partition(":8000")[2], words[words.index("-d") + 1] if "-d" in words else None))
    return found


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_requests_that_are_shown_are_answered(page: Page) -> None:
    sets = [
        state(name, manifest["version"], labels=tuple(manifest["config"]["labels"]), is_default=name == DEFAULT)
        for name, manifest in bundled().items()
    ]
    with client_of(StubLatentService(states=sets)) as client:
        for path, body in requests(page):
            reply = client.get(path) if body is None else client.post(path, json=json.loads(body))
            assert reply.status_code == 200, f"{path} {body}: {reply.text}"


def test_every_operation_has_its_request_on_the_first_page() -> None:
    with client_of() as client:
        described = client.get("/openapi.json").json()["paths"]
    operations = {path for path, methods in described.items() if "post" in methods and path.count("/") == 1}
    assert {"/encode", "/interpolate"} <= operations
    forms = {
        line.partition(":8000")[2].split()[0]
        for line in lines(README, "sh")
        if line.startswith("curl") and "-F" in line
    }
    assert operations - {path for path, _ in requests(README)} - forms == set()


def test_the_bundled_sets_are_all_told_of_and_by_their_versions() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \| (?:generation|language-modelling|classification) \|", README.text, re.M)
    assert sorted(rows) == sorted(bundled())
    named = re.findall(r"([a-z][a-z0-9-]*)@([0-9a-f]{12})\b", "".join(page.text for page in PAGES))
    assert named
    assert set(named) - {(name, manifest["version"]) for name, manifest in bundled().items()} == set()


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_python_that_is_shown_is_python_and_asks_adavae_for_what_it_has(page: Page) -> None:
    for tree in map(ast.parse, page.blocks("python")):
        kinds: dict[str, object] = {"adavae": adavae} | dict(made_by_adavae(tree))
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in kinds:
                assert hasattr(kinds[node.value.id], node.attr), ast.unparse(node)


def made_by_adavae(tree: ast.AST) -> Iterator[tuple[str, object]]:
    """The names that are given to what ``adavae.load`` and ``adavae.Client`` return, with its class."""
    classes: dict[str, object] = {"adavae.load": LoadedSet, "adavae.Client": AdaVAEClient}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            made, target = node.value, node.targets[0]
        elif isinstance(node, ast.withitem) and node.optional_vars is not None:
            made, target = node.context_expr, node.optional_vars
        else:
            continue
        if isinstance(made, ast.Call) and isinstance(target, ast.Name) and ast.unparse(made.func) in classes:
            yield target.id, classes[ast.unparse(made.func)]


def test_the_library_and_the_client_have_the_same_operations() -> None:
    """With the same names for what both take, so that a program can go from one to the other."""
    for name in ("encode", "decode", "sample", "interpolate", "analogy", "variations", "traverse", "classify"):
        ours, clients = (inspect.signature(getattr(kind, name)).parameters for kind in (LoadedSet, AdaVAEClient))
        positional = [each.name for each in ours.values() if each.kind is each.POSITIONAL_OR_KEYWORD]
        assert positional == list(clients)[: len(positional)], name

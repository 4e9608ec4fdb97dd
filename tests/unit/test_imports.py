"""Nothing points back: what each room may import, by itself and through others, and who reads the environment."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import import_graph
from tests.import_graph import imported_names, run_on_import

_ROOT = Path(__file__).resolve().parents[2]
_BUILD_HOOK = _ROOT / "model" / "kernel" / "build_hook.py"  # runs while the package is made, and is no part of it
_MODEL_FILES = sorted(path for path in (_ROOT / "model").rglob("*.py") if path != _BUILD_HOOK)
_SERVICE_FILES = sorted((_ROOT / "service").rglob("*.py"))
_COMMAND_FILES = [_ROOT / "service" / "cli.py", *(_ROOT / "service" / "commands").rglob("*.py")]
_ALL_FILES = [*_MODEL_FILES, *_SERVICE_FILES, *sorted((_ROOT / "tests").rglob("*.py"))]
_NOT_FOR_MODEL = {"service", "fastapi", "starlette", "redis", "pydantic", "pydantic_settings", "typer", "rich"}
_ONLY_INSIDE_FUNCTIONS = {"torch", "transformers", "numpy", "sklearn", "sacrebleu", "huggingface_hub", "tokenizers"}
_ENVIRONMENT = {"environ", "getenv", "environb", "putenv"}


_MODULES = import_graph.files()
_EDGES = import_graph.imports(_MODULES)
_LIGHT = [f"service.cluster.{name}" for name in ("arguments", "reaching", "serve_config", "trainers", "replica")]
_PROTOCOLS = ("service.latent_protocol", "service.jobs.protocol", "service.results")


def _within(*packages: str) -> list[str]:
    return [name for name in _MODULES if name.startswith(tuple(f"{package}." for package in packages))]


def _imported(nodes: Iterator[ast.AST]) -> set[str]:
    """First parts of the names of every module that ``nodes`` import; of our own, the package."""
    return {name.removeprefix("adavae.").split(".")[0] for name in imported_names(nodes)}


def _reads_environment(tree: ast.AST) -> bool:
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    from_os = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "os"
        for alias in node.names
    }
    return bool((attributes | from_os) & _ENVIRONMENT)


def _parse(path: Path) -> ast.AST:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def _name(path: Path) -> str:
    return path.relative_to(_ROOT).as_posix()


@pytest.mark.parametrize("path", _MODEL_FILES, ids=_name)
def test_model_knows_nothing_of_the_program_around_it(path: Path) -> None:
    tree = _parse(path)
    assert not _imported(ast.walk(tree)) & _NOT_FOR_MODEL
    assert not _reads_environment(tree)


@pytest.mark.parametrize("path", [*_MODEL_FILES, *_SERVICE_FILES], ids=_name)
def test_nothing_is_unpickled(path: Path) -> None:
    tree = _parse(path)
    assert not _imported(ast.walk(tree)) & {"pickle", "joblib", "dill", "cloudpickle"}
    loads = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and ast.unparse(node) == "torch.load"]
    if _name(path) != "model/storage/conversion.py":
        assert not loads
        return
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.func in loads]
    assert len(calls) == len(loads) == 1
    assert "weights_only=True" in ast.unparse(calls[0])


@pytest.mark.parametrize("path", [path for path in _SERVICE_FILES if path.name != "settings.py"], ids=_name)
def test_only_the_settings_read_the_environment(path: Path) -> None:
    assert not _reads_environment(_parse(path))


@pytest.mark.parametrize("path", _COMMAND_FILES, ids=_name)
def test_the_command_line_starts_without_torch(path: Path) -> None:
    assert not _imported(run_on_import(_parse(path))) & _ONLY_INSIDE_FUNCTIONS


@pytest.mark.parametrize("name", [*_within("service.routes", "service.schemas"), *_PROTOCOLS])
def test_routes_and_wire_types_need_neither_torch_nor_redis_nor_whoever_they_import(name: str) -> None:
    assert not import_graph.packages_reached(name, _EDGES, _MODULES) & {"torch", "redis", "transformers"}


@pytest.mark.parametrize("name", ["installed", "manifest", "checkpoint_files", "adapter_name", "atomic"])
def test_what_the_disk_holds_is_read_without_torch(name: str) -> None:
    assert "torch" not in import_graph.packages_reached(f"model.storage.{name}", _EDGES, _MODULES)


@pytest.mark.parametrize("name", _within("service.client"))
def test_the_client_needs_httpx2_and_numpy_only(name: str) -> None:
    reached = import_graph.packages_reached(name, _EDGES, _MODULES) - {"adavae"}
    assert {package for package in reached if package not in sys.stdlib_module_names} <= {"httpx2", "numpy"}


@pytest.mark.parametrize(
    "name", ["service.cli", "service.main", "service.jobs.training_service", "service.jobs.worker.child", *_LIGHT]
)
def test_only_a_cluster_needs_ray(name: str) -> None:
    assert "ray" not in import_graph.packages_reached(name, _EDGES, _MODULES)


def test_what_rays_controller_runs_imports_nothing_of_ours() -> None:
    assert import_graph.packages_reached("service.cluster.scaling", _EDGES, _MODULES) <= sys.stdlib_module_names


def test_importing_adavae_imports_nothing_else() -> None:
    assert import_graph.packages_reached("service.package", _EDGES, _MODULES) == {"typing"}


def test_only_the_command_line_imports_commands() -> None:
    importing = {edge.source for edge in _EDGES if edge.target.startswith("service.commands")}
    assert {name for name in importing if not name.startswith("service.commands")} == {"service.cli"}


def test_nothing_points_back() -> None:
    assert import_graph.backward(_EDGES) == []


def test_no_files_import_each_other_in_a_circle() -> None:
    assert import_graph.circles(_EDGES) == []


def test_a_circle_and_an_arrow_back_would_be_found() -> None:
    planted = import_graph.Import("model.errors", "service.main", False)
    assert import_graph.backward([*_EDGES, planted]) == [planted]
    (circle,) = import_graph.circles([*_EDGES, planted])
    assert {"model.errors", "service.main"} <= set(circle)
    assert "torch" in import_graph.packages_reached("model.adavae", _EDGES, _MODULES)


@pytest.mark.parametrize("path", _ALL_FILES, ids=_name)
def test_everything_is_imported_from_the_one_root(path: Path) -> None:
    """In a folder that has a model.py of its own, ``import model`` would be that."""
    assert not {"model", "service"} & {name.split(".")[0] for name in imported_names(ast.walk(_parse(path)))}


def test_there_are_files_to_check() -> None:
    assert _MODEL_FILES
    assert _SERVICE_FILES
    assert len(_within("service.routes")) > 10
    assert len(_within("service.client")) == 8

"""Nothing points back: the model knows nothing of the program around it, and only the settings read the environment."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]
_BUILD_HOOK = _ROOT / "model" / "kernel" / "build_hook.py"  # runs while the package is made, and is no part of it
_MODEL_FILES = sorted(path for path in (_ROOT / "model").rglob("*.py") if path != _BUILD_HOOK)
_SERVICE_FILES = sorted((_ROOT / "service").rglob("*.py"))
_COMMAND_FILES = [_ROOT / "service" / "cli.py", *(_ROOT / "service" / "commands").rglob("*.py")]
_NOT_FOR_MODEL = {"service", "fastapi", "starlette", "redis", "pydantic", "pydantic_settings", "typer", "rich"}
_ONLY_INSIDE_FUNCTIONS = {"torch", "transformers", "numpy", "sklearn", "sacrebleu", "huggingface_hub", "tokenizers"}
_ENVIRONMENT = {"environ", "getenv", "environb", "putenv"}


def _imported(nodes: Iterator[ast.AST]) -> set[str]:
    """First parts of the names of every module that ``nodes`` import."""
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {_first_part(alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(_first_part(node.module))
    return names


def _first_part(name: str) -> str:
    """``service`` of ``adavae.service.main``, ``torch`` of ``torch.nn``."""
    return name.removeprefix("adavae.").split(".")[0]


def _run_on_import(node: ast.AST) -> Iterator[ast.AST]:
    """Every node that is executed when the file is imported; what is for type checkers alone is left out."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            continue
        yield child
        yield from _run_on_import(child)


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


@pytest.mark.parametrize("path", _MODEL_FILES, ids=_name)
def test_model_unpickles_nothing(path: Path) -> None:
    tree = _parse(path)
    assert not _imported(ast.walk(tree)) & {"pickle", "joblib", "dill", "cloudpickle"}
    assert "torch.load" not in {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


@pytest.mark.parametrize("path", [path for path in _SERVICE_FILES if path.name != "settings.py"], ids=_name)
def test_only_the_settings_read_the_environment(path: Path) -> None:
    assert not _reads_environment(_parse(path))


@pytest.mark.parametrize("path", _COMMAND_FILES, ids=_name)
def test_the_command_line_starts_without_torch(path: Path) -> None:
    assert not _imported(_run_on_import(_parse(path))) & _ONLY_INSIDE_FUNCTIONS


def test_there_are_files_to_check() -> None:
    assert _MODEL_FILES
    assert _SERVICE_FILES

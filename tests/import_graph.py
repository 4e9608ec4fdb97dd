"""The import graph of the code: which file imports which, the rooms they stand in, and the arrows between rooms.

``python -m tests.import_graph`` prints its figures and those of the files' and functions' lengths.
"""

import ast
import statistics
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("model", "service")
_PREFIX = "adavae."  # of a module's name once it is installed
_BUILD_HOOK = "model.kernel.build_hook"  # runs while the package is made, and is no part of it

# Rooms and files from the ground up: an arrow leads downwards, or stays on its floor.
FLOORS = (
    ("model.errors", "model.given_numbers", "model.given_texts"),
    ("model.config", "model.results", "model.cleaning", "model.pairs", "model.spelling"),
    ("model.decoding.decoding", "model.fresh_memory", "model.empty_model", "model.finite"),
    ("model.storage.atomic", "model.storage.tensor_file", "model.storage.adapter_name", "model.kv_cache"),
    ("model.kernel",),
    ("model.parts", "model.row_cache", "model.projection", "model.latent"),
    ("model.backbone", "model.latent_ops"),
    ("model.adavae", "model.decoding", "model.storage"),
    ("model.gpu",),
    ("model.likelihood", "model.operations"),
    ("model.text_model", "model.variants", "model.trial"),
    ("model.training.readers",),
    ("model.training",),
    ("model",),
    ("service.service_links", "service.compose_variables", "service.store_address", "service.shown_address"),
    (
        "service.settings",
        "service.errors",
        "service.results",
        "service.metrics",
        "service.repeated_lines",
        "service.daemon_threads",
        "service.tasks",
        "service.caller",
        "service.served_set",
    ),
    ("service.log", "service.tracing"),
    ("service.client",),
    ("service.objects",),
    ("service.loading", "service.settings_table", "service.text_stream", "service.downloads", "service.sharing"),
    ("service.adapters", "service.engine"),
    ("service.encodings",),
    ("service.latent_protocol", "service.jobs.records"),
    ("service.jobs.data", "service.jobs.queue", "service.jobs.protocol", "service.jobs.hyperparameters"),
    ("service.jobs.worker",),
    ("service.progress_line",),
    ("service.jobs", "service.library"),
    ("service.plan_runner", "service.default_trial", "service.latent_inputs"),
    ("service.latent_parts",),
    ("service.latent_service", "service.schemas"),
    ("service.http",),
    ("service.routes",),
    ("service.main",),
    ("service.cluster",),
    ("service.commands",),
    ("service.cli",),
    ("service.__main__", "service"),
)


@dataclass(frozen=True, slots=True)
class Import:
    """One file's import of another file of the code.

    Attributes:
        is_on_import: It happens when the file is imported; False inside a function and for type checkers.
    """

    source: str
    target: str
    is_on_import: bool


def files() -> dict[str, Path]:
    """Every module's file by name, as the checkout has it: ``service.routes.encode``."""
    found: dict[str, Path] = {}
    for path in sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    found.pop(_BUILD_HOOK, None)
    return found


def imports(modules: Mapping[str, Path]) -> set[Import]:
    """Every import of one of ``modules`` by another."""
    found: set[Import] = set()
    for name, path in modules.items():
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
        at_once = {id(node) for node in run_on_import(tree)}
        for node in ast.walk(tree):
            for target in _targets(node, modules):
                if target != name:
                    found.add(Import(name, target, id(node) in at_once))
    return found


def run_on_import(node: ast.AST) -> Iterator[ast.AST]:
    """Every node that is executed when the file is imported; what is for type checkers alone is left out."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            continue
        yield child
        yield from run_on_import(child)


def imported_names(nodes: Iterable[ast.AST]) -> set[str]:
    """Whole names of every module that ``nodes`` import; for ``from a import b`` both ``a`` and ``a.b``."""
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def _targets(node: ast.AST, modules: Mapping[str, Path]) -> set[str]:
    """Of one import statement: the files it names; of ``from a import b``, b where that is a file, else a."""
    names = {name.removeprefix(_PREFIX) for name in imported_names([node])}
    named = {name for name in names if name in modules}
    return {name for name in named if not any(other.startswith(f"{name}.") for other in named)}


def reached(start: str, edges: Iterable[Import], modules: Mapping[str, Path]) -> set[str]:
    """Every module that is imported when ``start`` is, the packages around each one counted, ``start`` itself too."""
    targets: dict[str, set[str]] = {}
    for edge in edges:
        if edge.is_on_import:
            targets.setdefault(edge.source, set()).add(edge.target)
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        parents = {name.rsplit(".", up)[0] for up in range(1, name.count(".") + 1)}
        waiting += [*targets.get(name, ()), *(parents & modules.keys())]
    return seen


def packages_reached(start: str, edges: Iterable[Import], modules: Mapping[str, Path]) -> set[str]:
    """Top-level names of everything else that importing ``start`` imports: torch, fastapi, json."""
    names: set[str] = set()
    for name in reached(start, edges, modules):
        tree = ast.parse(modules[name].read_text(encoding="utf-8"))
        names |= {imported.split(".")[0] for imported in imported_names(run_on_import(tree))}
    return names


def circles(edges: Iterable[Import]) -> list[list[str]]:
    """Groups of files each of which reaches every other of its group, by imports of any kind."""
    targets: dict[str, set[str]] = {}
    for edge in edges:
        targets.setdefault(edge.source, set()).add(edge.target)
    reach = {name: _closure(name, targets) for name in targets}
    groups = {frozenset(other for other in reach[name] if name in reach.get(other, ())) for name in reach}
    return sorted(sorted(group) for group in groups if len(group) > 1)


def _closure(start: str, targets: Mapping[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    waiting = list(targets[start])
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += targets.get(name, ())
    return seen


def floor(module: str) -> int:
    """Number of the lowest floor that names the module, or the nearest package around it."""
    name = module
    while True:
        for number, names in enumerate(FLOORS):
            if name in names:
                return number
        name = name.rpartition(".")[0]


def backward(edges: Iterable[Import]) -> list[Import]:
    """Imports that lead to a higher floor."""
    return sorted((edge for edge in edges if floor(edge.target) > floor(edge.source)), key=lambda edge: edge.source)


def room(module: str, modules: Mapping[str, Path]) -> str:
    """The folder a file stands in."""
    return modules[module].parent.relative_to(ROOT).as_posix()


def _lengths(modules: Mapping[str, Path]) -> tuple[list[int], list[int]]:
    """Lines of every file, and of every function."""
    of_files, of_functions = list[int](), list[int]()
    for path in modules.values():
        text = path.read_text(encoding="utf-8")
        of_files.append(text.count("\n"))
        of_functions += [
            (node.end_lineno or node.lineno) - node.lineno + 1
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ]
    return of_files, of_functions


def _summary(lengths: list[int]) -> str:
    median, ninetieth = statistics.median(lengths), statistics.quantiles(lengths, n=10)[-1]
    return f"{len(lengths)}: median {median:g}, 90th percentile {ninetieth:.0f}, longest {max(lengths)}"


def main() -> None:
    """Prints the figures."""
    modules = files()
    edges = imports(modules)
    arrows = {(room(edge.source, modules), room(edge.target, modules)) for edge in edges}
    of_files, of_functions = _lengths(modules)
    lines = [
        f"rooms {len({path.parent for path in modules.values()})}",
        f"arrows between rooms {sum(source != target for source, target in arrows)}",
        f"imports between files {len({(edge.source, edge.target) for edge in edges})}",
        f"backward imports {len({(edge.source, edge.target) for edge in backward(edges)})}",
        f"circles between files {len(circles(edges))}",
        f"files {_summary(of_files)}",
        f"functions {_summary(of_functions)}",
    ]
    lines += [f"backward: {edge.source} -> {edge.target}" for edge in backward(edges)]
    lines += [f"circle: {', '.join(group)}" for group in circles(edges)]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()

"""The outcome of a run as a table of Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

HEAD = """| kind | tried | held | memory before, peak (limit of growth), MiB | bystander: p99 quiet, beside, ms | s |
|---|---|---|---|---|---|"""


def table(outcomes: Sequence[Mapping[str, Any]]) -> str:
    """A row a kind, and their sum."""
    tried, held = (sum(int(each[name]) for each in outcomes) for name in ("tried", "held"))
    seconds = sum(float(each["seconds"]) for each in outcomes)
    return "\n".join([HEAD, *map(_row, outcomes), f"| all | {tried} | {held} | | | {seconds:.0f} |"])


def _row(outcome: Mapping[str, Any]) -> str:
    memory = f"{outcome['base_mib']:.0f}, {outcome['peak_mib']:.0f} ({outcome['most_mib']})"
    bystander = f"{_shown(outcome['quiet_p99_ms'])}, {_shown(outcome['beside_p99_ms'])}"
    return (
        f"| {outcome['told']} | {outcome['tried']} | {outcome['held']} | {memory} | {bystander} | "
        f"{outcome['seconds']:.0f} |"
    )


def _shown(milliseconds: float | None) -> str:
    return "none" if milliseconds is None else f"{milliseconds:.0f}"

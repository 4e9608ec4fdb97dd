"""The table in docker/README.md, made from the settings themselves: ``python -m adavae.service.settings_table``."""

import sys

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from adavae.service.settings import PREFIX, Settings

_DEFAULTS = {
    "weights": "inside the package",
    "data": "`~/.local/share/adavae`",
    "store_cache": "`~/.cache/adavae`",
}


def settings_table() -> str:
    """One row a setting, in the order in which they are defined."""
    rows = [
        f"| `{PREFIX}{name.upper()}` | {_default(name, field)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(["| variable | default | |", "|---|---|---|", *rows])


def _default(name: str, field: FieldInfo) -> str:
    if name in _DEFAULTS:
        return _DEFAULTS[name]
    value = field.default.get_secret_value() if isinstance(field.default, SecretStr) else field.default
    if value is None or value == "":
        return "unset"
    return f"`{value}`"


if __name__ == "__main__":
    sys.stdout.write(settings_table() + "\n")

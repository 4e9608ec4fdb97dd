"""From a container's places to this machine's: addresses, ports, paths, each put in once, in one pass over a text."""

import re
from collections.abc import Mapping

ENGINE_NAME_SERVER = "127.0.0.11:53"


class Translation:
    """A text of one container's command, environment or configuration, as it has to read here.

    Args:
        address: The container's own.
        name_server: Address and port of what stands for the engine's.
        ports: The containers' port and the one here.
        paths: A path in the container, and where that is here.
        hosts: Names and their addresses; a program that looks names up by itself has none.
    """

    def __init__(
        self,
        address: str,
        name_server: str,
        ports: Mapping[int, str],
        paths: Mapping[str, str],
        hosts: Mapping[str, str],
    ) -> None:
        rules = {re.escape(ENGINE_NAME_SERVER): name_server}
        rules |= {rf"(?<![\w.]){re.escape(path)}(?![\w.-])": here for path, here in paths.items()}
        rules |= {rf"\b{re.escape(name)}(?=:\d)": here for name, here in hosts.items()}
        rules |= {r"\b127\.0\.0\.1\b": address, r"\b0\.0\.0\.0\b": address, r"(?<=\s)(?=:\d{4})": address}
        rules |= {rf"(?<![\w.]){port}(?![\w.])": here for port, here in ports.items()}
        self._replacements = list(rules.values())
        self._pattern = re.compile("|".join(f"({pattern})" for pattern in rules))

    def __call__(self, text: str) -> str:
        return self._pattern.sub(self._replacement, text)

    def _replacement(self, match: re.Match[str]) -> str:
        assert match.lastindex is not None
        return self._replacements[match.lastindex - 1]

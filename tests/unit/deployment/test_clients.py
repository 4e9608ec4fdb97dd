"""Other people's clients are pinned, apart from the project's own environment, and there where everything is tested."""

import re

from tests.integration.clients_environment import VARIABLE
from tests.pages import ROOT


def test_every_package_has_an_exact_version() -> None:
    lines = (ROOT / "tests" / "clients.txt").read_text("utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert {"chromadb", "langchain-openai", "litellm", "llama-index-core", "moto"} <= {
        line.partition("==")[0] for line in pins
    }
    assert [line for line in pins if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
    assert not any(re.match(r"(torch|transformers|adavae)\b", line) for line in pins)


def test_they_are_installed_where_everything_is_tested() -> None:
    run = (ROOT / ".ci" / "run").read_text("utf-8")
    assert run.index("-r tests/clients.txt &") < run.index('wait "$installing_clients"') < run.index(f"{VARIABLE}=")
    assert f'{VARIABLE}="$clients/bin/python" "$venv/bin/pytest"' in run

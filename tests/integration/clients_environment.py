"""The Python of other people's clients and servers, which have an environment of their own: a hundred packages.

``.ci/run`` makes it from tests/clients.txt and names its Python in ``CLIENTS_PYTHON``; elsewhere these lines do:

    python3 -m venv .clients && .clients/bin/pip install --no-deps -r tests/clients.txt
    CLIENTS_PYTHON=.clients/bin/python .venv/bin/pytest tests/integration
"""

import os
import shutil

import pytest

VARIABLE = "CLIENTS_PYTHON"


def clients_python() -> str:
    """That Python; skips the test where nothing is named, and fails it where what is named is not there."""
    named = os.environ.get(VARIABLE)
    if not named:
        pytest.skip(f"{VARIABLE} is not set: it names the Python of an environment with tests/clients.txt")
    found = shutil.which(named)
    assert found is not None, f"{VARIABLE} is {named!r}, where no program is"
    return found

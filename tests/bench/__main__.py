"""``python -m tests.bench``: the same as ``adavae bench``."""

from tests.bench.report import main

main()

"""``python -m service``: the same as ``adavae``."""

from service.cli import main

main()

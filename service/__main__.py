"""``python -m adavae.service``: the same as ``adavae``."""

from adavae.service.cli import main

main()

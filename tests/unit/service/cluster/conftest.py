"""Ray and a replica set up loggers of the process; every test here leaves them as they were."""

import logging
from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def _loggers_as_before() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("", "ray", "ray.serve", "adavae")]
    before = [(each, list(each.handlers), each.propagate, each.level) for each in loggers]
    yield
    for logger, handlers, propagates, level in before:
        logger.handlers, logger.propagate = handlers, propagates
        logger.setLevel(level)
    structlog.reset_defaults()

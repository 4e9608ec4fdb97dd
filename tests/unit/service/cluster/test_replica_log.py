"""A replica's lines in Serve's log."""

import io
import logging

import pytest
import structlog

from adavae.service.cluster.replica_log import set_up_replica_log
from tests.unit.service.stub_latent_service import stub_settings


@pytest.fixture
def serves_log() -> io.StringIO:
    """What goes to Serve's handler."""
    stream = io.StringIO()
    logging.getLogger("ray.serve").handlers = [logging.StreamHandler(stream)]
    return stream


def test_a_line_is_its_event_and_values_and_serve_adds_the_requests_id(serves_log: io.StringIO) -> None:
    set_up_replica_log(stub_settings())
    with structlog.contextvars.bound_contextvars(request_id="abc"):
        structlog.get_logger("adavae.request").info("request", status=200, route="/encode")
    structlog.get_logger("adavae.request").debug("not_at_this_level")
    assert serves_log.getvalue() == "request status=200 route='/encode'\n"


def test_a_traceback_comes_without_local_variables(serves_log: io.StringIO) -> None:
    set_up_replica_log(stub_settings())
    secret = "a text of a client"
    try:
        raise ValueError(len(secret))
    except ValueError:
        structlog.get_logger("adavae.request").exception("request_failed")
    said = serves_log.getvalue()
    assert said.startswith("request_failed\nTraceback") and "ValueError: 18" in said
    assert secret not in said.replace(f'secret = "{secret}"', "")

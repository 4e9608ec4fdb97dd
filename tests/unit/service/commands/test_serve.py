"""``adavae serve``: where it listens, what it refuses, and how log lines look."""

import io
import json
import logging
import socket
from collections.abc import Iterator

import pytest
import structlog

from adavae.service.commands.serve import CannotListen, open_listener
from adavae.service.log import set_up_log
from adavae.service.settings import SettingsError
from tests.unit.service.stub_latent_service import stub_settings


@pytest.fixture
def _log_restored() -> Iterator[None]:
    root, levels = logging.getLogger(), {name: logging.getLogger(name).level for name in ("", "uvicorn.error")}
    handlers = list(root.handlers)
    yield
    root.handlers[:] = handlers
    logging.getLogger("uvicorn.error").filters.clear()
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    structlog.reset_defaults()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_without_keys_other_machines_are_kept_out(host: str) -> None:
    with pytest.raises(SettingsError, match=r"there are no API keys: set ADAVAE_API_KEYS .* or listen on 127\.0\.0\.1"):
        open_listener(stub_settings(host=host))


def test_with_keys_every_address_may_be_listened_on() -> None:
    with open_listener(stub_settings(host="0.0.0.0", api_keys="a-key-of-the-tests")) as listener:
        assert listener.getsockname()[1] > 0


def test_loopback_needs_no_keys() -> None:
    for host in ("127.0.0.1", "localhost"):
        with open_listener(stub_settings(host=host)) as listener, socket.create_connection(listener.getsockname()[:2]):
            pass


def test_a_port_in_use_is_reported_with_the_remedy() -> None:
    with open_listener(stub_settings()) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(CannotListen, match=rf"port {port}: address already in use: .* choose another with --port"):
            open_listener(stub_settings(port=port))


def test_a_bad_address_is_reported() -> None:
    for host in ("nowhere.invalid", "a" * 300, "999.1.1.1"):
        with pytest.raises(SettingsError, match="which is no address"):
            open_listener(stub_settings(host=host))


@pytest.mark.usefixtures("_log_restored")
def test_json_lines_hold_the_request_id_and_those_of_libraries_too() -> None:
    stream = io.StringIO()
    set_up_log(stub_settings(), stream)
    with structlog.contextvars.bound_contextvars(request_id="r1"):
        structlog.get_logger("adavae.request").info("request", status=200)
    logging.getLogger("uvicorn.error").warning("bad %s", "thing")
    logging.getLogger("uvicorn.error").info("chatter")
    logging.getLogger("uvicorn.error").warning("Unsupported upgrade request.")
    structlog.get_logger("adavae.request").debug("hidden")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(line["event"], line["level"], line["logger"]) for line in lines] == [
        ("request", "info", "adavae.request"),
        ("bad thing", "warning", "uvicorn.error"),
    ]
    assert (lines[0]["request_id"], lines[0]["status"]) == ("r1", 200)


@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.usefixtures("_log_restored")
def test_a_traceback_is_logged_without_the_values_of_variables(log_format: str) -> None:
    stream = io.StringIO()
    set_up_log(stub_settings(log_format=log_format), stream)
    text = "my " + "secret"
    try:
        int(len(text) / 0)
    except ZeroDivisionError:
        structlog.get_logger("adavae.request").exception("request_failed")
    assert "ZeroDivisionError" in stream.getvalue()
    assert "my secret" not in stream.getvalue()


@pytest.mark.usefixtures("_log_restored")
def test_the_level_is_the_settings() -> None:
    stream = io.StringIO()
    set_up_log(stub_settings(log_level="error"), stream)
    structlog.get_logger("adavae.request").info("request")
    logging.getLogger("uvicorn.error").warning("bad")
    assert stream.getvalue() == ""


def test_replies_are_sent_at_once() -> None:
    """asyncio left Nagle's algorithm on for a listener that did not name its protocol: every reply took 40 ms."""
    with open_listener(stub_settings()) as listener:
        assert listener.proto == socket.IPPROTO_TCP

"""The balancer's configuration, read by the real program."""

import http.client
import re
import shutil
import socket
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from tests.compose_file import FORMS, REPOSITORY, read_compose, seconds

CONFIGURATION = REPOSITORY / "docker" / "haproxy.cfg"


def text() -> str:
    return CONFIGURATION.read_text(encoding="utf-8")


def test_haproxy_accepts_it() -> None:
    if (haproxy := shutil.which("haproxy")) is None:
        pytest.skip("haproxy is not installed (Debian: apt-get install haproxy)")
    done = subprocess.run([haproxy, "-c", "-f", str(CONFIGURATION)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    warnings = [line for line in done.stderr.splitlines() if "WARNING" in line]
    assert not [line for line in warnings if "could not resolve address 'service'" not in line]


def test_it_looks_for_the_service_where_compose_runs_it() -> None:
    compose = read_compose(FORMS["scale"], {"ADAVAE_REPLICAS": "8"})
    service, balancer = compose["services"]["service"], compose["services"]["balancer"]
    found = re.search(r"server-template replica (\d+) (\w+):(\d+)", text())
    assert found is not None
    assert (found[2], found[3]) == ("service", service["environment"]["ADAVAE_PORT"])
    assert int(found[1]) >= int(service["deploy"]["replicas"])
    assert set(service["networks"]) & set(balancer["networks"])
    assert [port.rsplit(":")[-1] for port in balancer["ports"]] == re.findall(r"bind :(\d+)", text())[:1]


def test_it_ends_by_itself_before_it_is_killed() -> None:
    ends = re.search(r"hard-stop-after (\w+)", text())
    assert ends is not None
    grace = read_compose(FORMS["scale"])["services"]["balancer"]["stop_grace_period"]
    assert seconds(ends[1]) < seconds(grace)


class _Asked(BaseHTTPRequestHandler):
    """Keeps the headers it is sent."""

    seen: ClassVar[list[list[tuple[str, str]]]] = []

    def do_GET(self) -> None:
        self.seen.append(list(self.headers.items()))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Says nothing."""


def test_it_says_whom_a_request_comes_from_whatever_the_client_says(tmp_path: Path) -> None:
    if (haproxy := shutil.which("haproxy")) is None:
        pytest.skip("haproxy is not installed (Debian: apt-get install haproxy)")
    entry = re.search(r"^frontend entry\n(?:(?: .*)?\n)+", text(), re.M)
    assert entry is not None
    with HTTPServer(("127.0.0.1", 0), _Asked) as behind, socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        reserved.close()
        config = tmp_path / "haproxy.cfg"
        config.write_text(
            "defaults\n mode http\n timeout connect 60s\n timeout client 60s\n timeout server 60s\n"
            + entry[0].replace("bind :8000", f"bind 127.0.0.1:{port}")
            + f"backend replicas\n server one 127.0.0.1:{behind.server_port}\n"
        )
        threading.Thread(target=behind.serve_forever, daemon=True).start()
        # "-D" returns once it listens.
        subprocess.run([haproxy, "-D", "-f", str(config), "-p", str(tmp_path / "pid")], check=True, capture_output=True)
        try:
            client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            made_up = {"X-Forwarded-For": "198.51.100.7, 198.51.100.8", "Forwarded": "for=198.51.100.7"}
            client.request("GET", "/", headers=made_up)
            assert client.getresponse().status == 204
            client.close()
        finally:
            for pid in (tmp_path / "pid").read_text().split():
                subprocess.run(["kill", pid], check=True)
            behind.shutdown()
    named = [(name.lower(), value) for name, value in _Asked.seen[-1]]
    assert [value for name, value in named if name == "x-forwarded-for"] == ["127.0.0.1"]
    assert "forwarded" not in dict(named)

"""The balancer's configuration, read by the real program."""

import re
import shutil
import subprocess

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

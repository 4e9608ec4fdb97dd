"""The Redis containers of the manifests as processes: commands and probes as they stand, but for paths and port."""

import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError, NoPermissionError

from tests.kustomization import KUBERNETES, built, containers, identity, seen_by_a_container

_PASSWORD = "Geheim-0-1-2"
_DEADLINE_S = 30.0


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.mark.parametrize(("name", "allowed", "forbidden"), [("cache", "MGET", "XLEN"), ("queue", "XLEN", "MGET")])
def test_a_redis_of_the_manifests_starts_and_lets_its_one_user_do_what_is_needed(
    tmp_path: Path, name: str, allowed: str, forbidden: str
) -> None:
    if shutil.which("redis-server") is None:
        pytest.skip("not installed: redis-server")
    (container,) = (
        each for one in built(KUBERNETES / "cpu") if identity(one) == ("StatefulSet", name) for each in containers(one)
    )
    port, secret = _free_port(), tmp_path / "redis_password"
    secret.write_text(_PASSWORD + "\n", encoding="utf-8")
    programs = tmp_path / "bin"
    programs.mkdir()
    for program, line in (
        ("redis-server", f'exec {shutil.which("redis-server")} "$@" --bind 127.0.0.1 --port {port}'),
        ("redis-cli", f'exec {shutil.which("redis-cli")} -p {port} "$@"'),
    ):
        (programs / program).write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
        (programs / program).chmod(0o755)
    environment = {"PATH": f"{programs}:/usr/local/bin:/usr/bin:/bin"}

    def here(text: str) -> str:
        return text.replace("/etc/adavae/secrets/redis_password", str(secret))

    command = [here(seen_by_a_container(part)) for part in container["command"]]
    probe = [here(part) for part in container["readinessProbe"]["exec"]["command"]]
    data = tmp_path / "data"
    data.mkdir()
    process = subprocess.Popen(command, env=environment, cwd=data, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    try:
        deadline_s = time.monotonic() + _DEADLINE_S
        while subprocess.run(probe, env=environment, capture_output=True, check=False).returncode:
            assert process.poll() is None and time.monotonic() < deadline_s
        with Redis(port=port, username="adavae", password=_PASSWORD) as client:
            key = "adavae:enc:1" if name == "cache" else "adavae:training"
            client.execute_command(allowed, key)
            with pytest.raises(NoPermissionError):
                client.execute_command(forbidden, key)
        with Redis(port=port, username="adavae", password="another") as stranger, pytest.raises(AuthenticationError):
            stranger.ping()
    finally:
        process.terminate()
        process.wait()

"""A compose stack without an engine: every service of the files is a local process, wired up as the files say.

What an engine would do is done by other means: each container has an address of its own in 127.0.0.0/8, its ports are
free ones, volumes and secrets are directories and files, host names are addresses. Everything else, commands,
environment, healthchecks, order, grace periods, is the files' own.
"""

import os
import re
import secrets
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.compose_file import REPOSITORY, read_compose
from tests.dockerfile import read_stages
from tests.e2e.container import Container, Plan
from tests.e2e.name_server import NameServer
from tests.e2e.translation import Translation

KEY = "a-key-of-the-tests"
# A training job takes one minute, or five where bfloat16 is not multiplied and other tests run beside it.
_DEADLINE_S = 600.0
_POLL_S = 0.05
_PORT = re.compile(r":(\d{4,5})\b")
# What the images of others bring along and no file names.
_PORTS = {"redis": 6379}
_WORKING_DIRECTORIES = {"redis": "/data"}
_PROGRAMS = {"redis": ("redis-server", "redis-cli"), "haproxy": ("haproxy", "wget")}


class Stack:
    """The services of the files; use ``running_stack``, which ends every process."""

    def __init__(self, files: list[Path], root: Path) -> None:
        self._root = root
        self.compose = read_compose(files, self._make_secrets())
        self._names = NameServer(self.addresses)
        self._stages = read_stages()
        self._ports = {port: str(_free_port()) for port in sorted(self._all_ports(files))}
        network, numbers = f"127.{secrets.randbelow(250) + 2}.{secrets.randbelow(250) + 2}", count(2)
        self._addresses = {
            service: [f"{network}.{next(numbers)}" for _ in range(int(definition.get("deploy", {}).get("replicas", 1)))]
            for service, definition in self.compose["services"].items()
        }
        self.containers = {
            service: [Container(self._plan(service, place)) for place in range(len(addresses))]
            for service, addresses in self._addresses.items()
        }

    def __getitem__(self, service: str) -> Container:
        """The only container of a service."""
        (container,) = self.containers[service]
        return container

    @property
    def url(self) -> str:
        """Where users find the stack: the one port that the files publish."""
        published = [(name, each) for name, definition in self._definitions() for each in definition.get("ports", [])]
        ((service, ports),) = published
        return self.url_of(service, 0, int(ports.rsplit(":", 1)[1]))

    @property
    def images(self) -> set[str]:
        """Their names, without versions."""
        return {definition["image"].split(":")[0] for _, definition in self._definitions()}

    def url_of(self, service: str, place: int, port: int) -> str:
        return f"http://{self._addresses[service][place]}:{self._ports[port]}"

    def volume(self, name: str) -> Path:
        assert name in self.compose["volumes"]
        return _made(self._root / "volumes" / name)

    def addresses(self, service: str) -> list[str]:
        """Of the containers that run, as the engine's name server tells them."""
        containers = self.containers.get(service, [])
        pairs = zip(self._addresses.get(service, []), containers, strict=True)
        return [address for address, container in pairs if container.is_running]

    def up(self, *services: str) -> None:
        """``docker compose up``: the services and what they depend on, each when those are as it wants them."""
        wanted = set(services or self.containers)
        while missing := {needed for name in wanted for needed in self._needs(name)} - wanted:
            wanted |= missing
        started: set[str] = set()
        while wanted - started:
            due = sorted(name for name in wanted - started if set(self._needs(name)) <= started)
            assert due, f"services wait for each other: {wanted - started}"
            for container in self._all(due):
                if not container.is_running:
                    container.start()
            self._at_once(due, Container.wait_healthy)
            started |= set(due)

    def down(self) -> None:
        """``docker compose stop``: who depends on others first; all must end well and in time."""
        left = {name for name, containers in self.containers.items() if any(each.is_running for each in containers)}
        while left:
            needed = {other for name in left for other in self._needs(name)}
            due = sorted(left - needed)
            running = [each for each in self._all(due) if each.is_running]
            for container in running:
                container.ask_to_end()
            codes = {container.plan.name: container.wait_ended() for container in running}
            assert not any(codes.values()), codes
            left -= set(due)

    def restart(self, service: str, place: int = 0) -> None:
        """``docker compose restart`` of one container; returns when it is healthy again."""
        container = self.containers[service][place]
        container.ask_to_end()
        assert container.wait_ended() == 0
        container.start()
        container.wait_healthy()

    def start_again(self, service: str, place: int = 0) -> None:
        """What an engine does with a container that has died, where the file tells it to."""
        assert self.compose["services"][service]["restart"] == "unless-stopped"
        container = self.containers[service][place]
        container.start()
        container.wait_healthy()

    def wait_for(self, condition: Callable[[], object]) -> None:
        deadline_s = time.monotonic() + _DEADLINE_S
        while not condition():
            for container in self._all(self.containers):
                container.note_memory()
            if time.monotonic() > deadline_s:
                pytest.fail(f"did not come about in time; the services said:\n{self.output()}")
            time.sleep(_POLL_S)

    def output(self) -> str:
        parts = (f"--- {each.plan.name}\n{each.output[-3000:]}" for each in self._all(self.containers))
        return "\n".join(parts)

    def strays(self) -> list[str]:
        """Files outside of volumes and temporary directories, which an image that is read only would have refused."""
        homes = {each.plan.working_directory for each in self._all(self.containers)} - set(self._volume_directories())
        return [str(path) for home in homes for path in home.rglob("*")]

    def close(self) -> None:
        for container in self._all(self.containers):
            container.kill()
        self._names.close()

    def _all(self, services: Iterable[str]) -> list[Container]:
        return [container for service in services for container in self.containers[service]]

    def _at_once(self, services: Iterable[str], work: Callable[[Container], None]) -> None:
        with ThreadPoolExecutor(16) as threads:
            list(threads.map(work, self._all(services)))

    def _definitions(self) -> Iterable[tuple[str, dict[str, Any]]]:
        return self.compose["services"].items()

    def _needs(self, service: str) -> list[str]:
        conditions = self.compose["services"][service].get("depends_on", {})
        assert all(each["condition"] == "service_healthy" for each in conditions.values())
        return list(conditions)

    def _make_secrets(self) -> dict[str, str]:
        """The variables that tell the files where the secrets lie."""
        directory = _made(self._root / "secrets")
        contents = {"api_keys": f"# who may do what\n{KEY}:infer,train,admin\n", "redis_password": "Geheim-0-1-2\n"}
        for name, content in contents.items():
            (directory / name).write_text(content, encoding="utf-8")
            (directory / name).chmod(0o640)
        return {f"ADAVAE_{name.upper()}_SECRET": str(directory / name) for name in contents}

    def _all_ports(self, files: list[Path]) -> set[int]:
        """Every port that the files, what they mount and the images name."""
        texts = [path.read_text(encoding="utf-8") for path in files]
        texts += [source.read_text(encoding="utf-8") for source, _ in self._mounted_files()]
        return {int(port) for text in texts for port in _PORT.findall(text)} | set(_PORTS.values())

    def _mounted_files(self) -> list[tuple[Path, str]]:
        mounts = [mount.split(":") for _, definition in self._definitions() for mount in definition.get("volumes", [])]
        return [(REPOSITORY / parts[0], parts[1]) for parts in mounts if parts[0].startswith("./")]

    def _volume_directories(self) -> list[Path]:
        return [self.volume(name) for name in self.compose["volumes"]]

    def _plan(self, service: str, place: int) -> Plan:
        definition = self.compose["services"][service]
        image = definition["image"].split(":")[0]
        home = _made(self._root / "containers" / f"{service}-{place + 1}")
        temporary, programs = _made(home / "tmp"), self._programs(home / "bin", service, place)
        stage = self._stages.get(definition.get("build", {}).get("target", ""))
        environment = (stage.environment if stage is not None else {}) | definition.get("environment", {})
        directory = _WORKING_DIRECTORIES.get(image)

        here = self._translation(service, place)
        variables = {name: here(value) for name, value in environment.items() if name != "PATH"}
        work = Path(here(directory)) if directory is not None else _made(home / "work")
        return Plan(
            name=f"{service}-{place + 1}",
            definition=definition,
            command=[here(part) for part in definition["command"]],
            healthcheck=[here(part) for part in _exec_form(definition["healthcheck"]["test"])],
            environment=_surroundings(programs, work, temporary) | variables,
            working_directory=work,
            log=home / "log",
        )

    def _translation(self, service: str, place: int) -> Translation:
        paths = {f"/run/secrets/{name}": definition["file"] for name, definition in self.compose["secrets"].items()}
        paths |= {target: str(source) for source, target in self._mounts(service, place)}
        hosts = {name: addresses[0] for name, addresses in self._addresses.items()}
        return Translation(self._addresses[service][place], self._names.address, self._ports, paths, hosts)

    def _mounts(self, service: str, place: int) -> list[tuple[Path, str]]:
        """Directory or file here, and where the container has it; a file is translated, but for the names in it."""
        mounts = []
        for mount in self.compose["services"][service].get("volumes", []):
            source, target = mount.split(":")[:2]
            if source.startswith("./"):
                copy = self._root / "containers" / f"{service}-{place + 1}" / Path(source).name
                translation = Translation(self._addresses[service][place], self._names.address, self._ports, {}, {})
                copy.write_text(translation((REPOSITORY / source).read_text(encoding="utf-8")), encoding="utf-8")
                mounts.append((copy, target))
            else:
                mounts.append((self.volume(source), target))
        return mounts

    def _programs(self, directory: Path, service: str, place: int) -> Path:
        """Programs in the place of the image's: as they are, but listening where this container is."""
        _made(directory)
        address, port = self._addresses[service][place], self._ports[_PORTS["redis"]]
        lines = {
            "adavae": f'exec {sys.executable} -m adavae.service "$@"',
            "redis-server": f'exec {shutil.which("redis-server")} "$@" --bind {address} --port {port}',
            "redis-cli": f'exec {shutil.which("redis-cli")} -h {address} -p {port} "$@"',
        }
        for name, line in lines.items():
            program = directory / name
            program.write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
            program.chmod(0o755)
        return directory


@contextmanager
def running_stack(files: list[Path], root: Path) -> Iterator[Stack]:
    """The stack of the files, not yet started, below ``root``; skips where a program is missing."""
    stack = Stack(files, root)
    try:
        missing = [name for image in stack.images for name in _PROGRAMS.get(image, ()) if shutil.which(name) is None]
        if missing:
            pytest.skip(f"not installed: {', '.join(missing)} (Debian: apt-get install redis-server haproxy wget)")
        yield stack
    finally:
        stack.close()


def _exec_form(test: list[str]) -> list[str]:
    kind, *command = test
    assert kind in ("CMD", "CMD-SHELL"), test
    return command if kind == "CMD" else ["sh", "-c", *command]


def _surroundings(programs: Path, home: Path, temporary: Path) -> dict[str, str]:
    """What every process has; nothing of whoever runs the tests but where programs lie."""
    return {
        "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}",
        "PYTHONPATH": str(REPOSITORY),
        "HOME": str(home),
        "TMPDIR": str(temporary),
    }


def _made(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("0.0.0.0", 0))
        return int(listener.getsockname()[1])

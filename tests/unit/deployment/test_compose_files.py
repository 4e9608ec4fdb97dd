"""Every form of the stack is a compose file by the specification, and says nothing that code and images do not know."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from adavae.service.settings import PREFIX, Settings
from tests.compose_file import FORMS, REPOSITORY, num_bytes, read_compose, seconds
from tests.dockerfile import read_stages

GIVEN = {
    "ADAVAE_REPLICAS": "5",
    "ADAVAE_PUBLISH": "0.0.0.0:80",
    "ADAVAE_TORCH": "cu130",
    "ADAVAE_API_KEYS_SECRET": "/etc/adavae/api_keys",
}

pytestmark = pytest.mark.parametrize("form", FORMS)


def services(form: str) -> dict[str, dict[str, Any]]:
    return dict(read_compose(FORMS[form])["services"])


@pytest.mark.parametrize("variables", [{}, GIVEN], ids=["defaults", "given"])
def test_the_specification_allows_it(form: str, variables: dict[str, str], tmp_path: Path) -> None:
    merged = tmp_path / "merged.json"
    merged.write_text(json.dumps(read_compose(FORMS[form], variables)), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(merged)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_setting_exists_and_takes_its_value(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stages = read_stages()
    for service, definition in services(form).items():
        stage = stages.get(definition.get("build", {}).get("target", ""))
        environment = (stage.environment if stage else {}) | definition.get("environment", {})
        ours = {name: value for name, value in environment.items() if name.startswith(PREFIX)}
        unknown = [name for name in ours if name.removeprefix(PREFIX).lower() not in Settings.model_fields]
        assert not unknown, f"{service}: {unknown}"
        with monkeypatch.context() as patch:
            for name, value in ours.items():
                assert isinstance(value, str), f"{name}: YAML reads {value!r} as no string"
                patch.setenv(name, value)
            Settings()


def test_images_say_the_same_of_command_and_health(form: str) -> None:
    stages = read_stages()
    for definition in services(form).values():
        if (target := definition.get("build", {}).get("target")) is None:
            continue
        stage, check = stages[target], definition["healthcheck"]
        assert definition["command"] == stage.command
        assert stage.healthcheck is not None
        command, options = stage.healthcheck
        assert check["test"] == ["CMD", *command]
        assert options == {name.replace("_", "-"): str(check[name]) for name in check if name != "test"}


def test_every_service_is_watched_over_and_bounded(form: str) -> None:
    for definition in services(form).values():
        assert definition["restart"] == "unless-stopped"
        assert definition["read_only"] is True
        assert definition["cap_drop"] == ["ALL"]
        limits = definition["deploy"]["resources"]["limits"]
        assert num_bytes(limits["memory"])
        assert float(limits["cpus"]) >= 0
        assert 32 <= definition["pids_limit"] <= 1024
        assert 4096 <= definition["ulimits"]["nofile"] <= 65536
        for mount in definition.get("tmpfs", []):
            assert num_bytes(re.search(r":size=(\w+)", mount)[1]) < num_bytes(limits["memory"])  # type: ignore[index]
        check = definition["healthcheck"]
        assert seconds(check["timeout"]) < seconds(check["interval"])
        assert not any("curl" in part for part in check["test"])


def test_the_grace_period_outlasts_the_end_of_requests(form: str) -> None:
    grace_s = seconds(services(form)["service"]["stop_grace_period"])
    assert grace_s > Settings.model_fields["shutdown_s"].default


def test_order_is_by_health(form: str) -> None:
    every = services(form)
    for definition in every.values():
        for other, how in definition.get("depends_on", {}).items():
            assert how["condition"] == "service_healthy"
            assert "healthcheck" in every[other]


def test_only_one_service_is_published_and_only_to_this_machine(form: str) -> None:
    published = {name: service["ports"] for name, service in services(form).items() if service.get("ports")}
    assert list(published) == ["balancer" if "scale" in form else "service"]
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)


@pytest.mark.parametrize(("name", "policy"), [("cache", "allkeys-lru"), ("queue", "noeviction")])
def test_each_redis_is_inside_and_only_the_cache_forgets(form: str, name: str, policy: str) -> None:
    compose = read_compose(FORMS[form])
    redis = compose["services"][name]
    assert [compose["networks"][network] for network in redis["networks"]] == [{"internal": True}]
    command = redis["command"][-1]
    assert "--appendonly yes" in command
    assert f"--maxmemory-policy {policy} " in command
    held = re.search(r"--maxmemory (\d+m)b", command)
    assert held is not None
    assert num_bytes(held[1]) < num_bytes(redis["deploy"]["resources"]["limits"]["memory"])
    arguments, _, standard_input = command.partition("<<END")
    assert "user default off" in standard_input and "secrets" not in arguments
    (user,) = [line.split() for line in standard_input.splitlines() if line.startswith("user adavae ")]
    assert "-@all" in user and not [rule for rule in user if rule.startswith("+@") or rule in ("~*", "allcommands")]


def test_cache_and_queue_are_apart(form: str) -> None:
    every = services(form)
    hosts = {
        name: {
            key: urlsplit(service["environment"][key]).hostname
            for key in service["environment"]
            if key.endswith("_URL")
        }
        for name, service in every.items()
        if "environment" in service
    }
    assert hosts["service"] == {"ADAVAE_REDIS_URL": "cache", "ADAVAE_QUEUE_REDIS_URL": "queue"}
    assert hosts["worker"] == {"ADAVAE_QUEUE_REDIS_URL": "queue"}
    assert not set(every["cache"]["volumes"]) & set(every["queue"]["volumes"])


def test_what_is_named_is_defined_and_what_is_mounted_exists(form: str) -> None:
    compose = read_compose(FORMS[form])
    for definition in compose["services"].values():
        assert set(definition["networks"]) <= set(compose["networks"])
        assert set(definition.get("secrets", [])) <= set(compose["secrets"])
        for mount in definition.get("volumes", []):
            source = mount.split(":")[0]
            assert source in compose["volumes"] or (REPOSITORY / source).is_file(), mount
    for service in compose["secrets"].values():
        path = REPOSITORY / service["file"]
        assert (path.parent / ".gitignore").read_text(encoding="utf-8").startswith("*\n"), "secrets could be committed"


def test_whoever_reads_secrets_is_in_their_group_so_that_others_need_not(form: str) -> None:
    for definition in services(form).values():
        assert ("10001" in definition.get("group_add", [])) == bool(definition.get("secrets"))
    given = read_compose(FORMS[form], {"ADAVAE_SECRETS_GROUP": "1000"})["services"]
    assert all(service["group_add"] == ["1000"] for service in given.values() if service.get("secrets"))
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert "chmod 644" not in readme
    assert "ADAVAE_SECRETS_GROUP=$(id -g)" in readme


def test_only_behind_the_balancer_is_another_address_believed_and_then_no_port_is_published(form: str) -> None:
    service = services(form)["service"]
    assert ("ADAVAE_TRUSTED_PROXIES" in service["environment"]) == ("scale" in form) == (not service.get("ports"))


def test_a_gpu_is_reserved_where_the_settings_ask_for_one(form: str) -> None:
    for definition in services(form).values():
        devices = definition.get("deploy", {}).get("resources", {}).get("reservations", {}).get("devices", [])
        assert bool(devices) == (definition.get("environment", {}).get("ADAVAE_DEVICE") == "cuda")
        if devices:
            assert definition["build"]["args"]["TORCH"].startswith("cu")

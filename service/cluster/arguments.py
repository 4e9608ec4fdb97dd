"""What the application on a cluster is given: settings, never secrets, which each machine has in its own environment.

Whatever Ray is given can be seen by everybody who may look at the cluster: its configuration, its dashboard, its logs.
"""

import json
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from adavae.service.http.api_keys import load_api_keys
from adavae.service.jobs.worker.child_protocol import SETTINGS
from adavae.service.settings import Settings, SettingsError, load_settings

_OF_THE_COMMAND = {"server_url", "api_key", "port", "keep_alive_s"}
"""What says where clients come in, or is for clients: Serve's proxies have the port, replicas have none."""

_OF_TRAINING = {
    *SETTINGS,
    *("lease_s", "shutdown_s", "training_threads", "training_silence_s"),
    *("training_cpus", "training_gpus", "training_memory_bytes"),
    *("max_upload_bytes", "max_line_bytes", "check_timeout_s"),
}
"""What the dispatcher and its tasks read: whatever else callers differ in is nothing to them."""


class ClusterArguments(BaseModel):
    """``args`` of the application in a serve.yaml.

    Attributes:
        settings: Fields of ``Settings``, which go before the environment of the machine that a replica is on.
        requires_keys: No replica starts without API keys; only where nobody else reaches the cluster's HTTP port may
            this be false.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    settings: dict[str, Any] = Field(default_factory=dict)
    requires_keys: bool = True

    def settings_here(self) -> Settings:
        """The settings on this machine.

        Raises:
            SettingsError: They are wrong, or are secrets.
        """
        if secrets := sorted(self.settings.keys() & secret_fields()):
            raise SettingsError(
                f"the cluster is given {', '.join(secrets)}, which everybody who sees its configuration can read: set "
                f"{', '.join(f'ADAVAE_{name.upper()}' for name in secrets)} where `ray start` is run, on every machine"
            )
        return load_settings(self.settings)

    def guarded_settings_here(self) -> Settings:
        """As ``settings_here``, for whoever answers requests; raises SettingsError too where keys are missing."""
        settings = self.settings_here()
        if self.requires_keys and not load_api_keys(settings):
            raise SettingsError(
                "others can reach this cluster, and there are no API keys on this machine: set ADAVAE_API_KEYS or "
                "ADAVAE_API_KEYS_FILE where `ray start` is run, on every machine"
            )
        return settings


def arguments_of(settings: Settings, *, requires_keys: bool) -> ClusterArguments:
    """What a cluster is told of ``settings``: all that differs from the defaults, but for secrets."""
    given = settings.model_fields_set - secret_fields() - _OF_THE_COMMAND
    return ClusterArguments(settings=_chosen(settings, given), requires_keys=requires_keys)


def training_arguments_of(settings: Settings) -> ClusterArguments:
    """What those who train on a cluster are told of ``settings``; they answer no requests."""
    return ClusterArguments(settings=_chosen(settings, settings.model_fields_set & _OF_TRAINING), requires_keys=False)


def _chosen(settings: Settings, names: set[str]) -> dict[str, Any]:
    values = json.loads(settings.model_dump_json(include=names))
    return {name: value for name, value in values.items() if value is not None}


def secret_fields() -> set[str]:
    """Settings whose values nobody may see; the files that hold some are no secret."""
    return {name for name, field in Settings.model_fields.items() if SecretStr in _types(field.annotation)}


def _types(annotation: Any) -> set[Any]:
    return {annotation, *getattr(annotation, "__args__", ())}

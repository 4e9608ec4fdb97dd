"""A serve.yaml from settings."""

from pathlib import Path

import pytest

from adavae.service.cluster.arguments import ClusterArguments
from adavae.service.cluster.serve_config import IMPORT_PATH, serve_config
from adavae.service.settings import load_settings


def test_it_says_where_to_listen_and_what_replicas_are_given(tmp_path: Path) -> None:
    chosen = load_settings({"host": "127.0.0.1", "port": 8123, "log_format": "json", "data": tmp_path})
    config = serve_config(chosen, requires_keys=False)
    assert config["http_options"] == {"host": "127.0.0.1", "port": 8123, "keep_alive_timeout_s": 5}
    assert config["logging_config"]["encoding"] == "JSON"
    (application,) = config["applications"]
    assert (application["import_path"], application["route_prefix"]) == (IMPORT_PATH, "/")
    assert ClusterArguments(**application["args"]).settings_here().data == tmp_path


def test_ray_takes_it() -> None:
    schema = pytest.importorskip("ray.serve.schema", reason="Ray Serve is not installed (pip install 'adavae[ray]')")
    read = schema.ServeDeploySchema(**serve_config(load_settings({"port": 8123}), requires_keys=True))
    assert (read.http_options.port, read.applications[0].name) == (8123, "adavae")


def test_the_import_path_leads_to_the_builder() -> None:
    pytest.importorskip("ray.serve", reason="Ray Serve is not installed (pip install 'adavae[ray]')")
    from adavae.service.cluster import application

    module, _, name = IMPORT_PATH.partition(":")
    assert module == application.__name__
    assert getattr(application, name) is application.build

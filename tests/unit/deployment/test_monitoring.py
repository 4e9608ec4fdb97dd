"""The dashboard and the alerts ask for nothing that the service and the worker do not have."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from adavae.service.jobs.worker.supervisor import Outcome
from adavae.service.jobs.worker.training_metrics import TrainingMetrics
from adavae.service.metrics import Metrics
from tests.kustomization import KUBERNETES, built
from tests.pages import ROOT

_KEYWORDS = {"sum", "max", "by", "rate", "increase", "histogram_quantile", "and", "le"}
_OF_PROMETHEUS = {"up": {"job", "instance"}}
_EVERYWHERE = {"job", "instance", "le"}


def available() -> dict[str, set[str]]:
    """Every sample's name with the names of its labels, as a service that trains shows them."""
    metrics, worker = Metrics(), CollectorRegistry()
    training = TrainingMetrics(metrics.registry)
    TrainingMetrics(worker)
    metrics.requests_total.labels("GET", "/", "200", "").inc()
    metrics.request_seconds.labels("GET", "/", "200", "").observe(1.0)
    training.attempts_total.labels(outcome="succeeded").inc()
    training.set_jobs({})
    training.loss.labels(part="total").set(1.0)
    families = [*metrics.registry.collect(), *worker.collect()]
    return {sample.name: set(sample.labels) for family in families for sample in family.samples}


def dashboard() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((ROOT / "docker" / "grafana-dashboard.json").read_text("utf-8"))
    return content


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load((ROOT / "docker" / "prometheus-alerts.yml").read_text("utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def expressions() -> Iterator[str]:
    for panel in dashboard()["panels"]:
        yield from (target["expr"] for target in panel.get("targets", []))
    for variable in dashboard()["templating"]["list"]:
        yield from re.findall(
            r"label_values\((.*), \w+\)", variable["query"]["query"] if variable["type"] == "query" else ""
        )
    yield from (rule["expr"] for rule in alerts())


def asked_for(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Names of metrics, each with the labels that it is filtered by."""
    grouped = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", expression))))
    rest = re.sub(r"by \([^)]*\)|\[[^]]*\]", "", expression)
    if named := re.search(r'__name__=~"([^"]*)"', rest):
        yield from ((name, set()) for name in named[1].split("|"))
        return
    for name, filters in re.findall(r"([a-z_]+)\b(?!\()(?:\{([^}]*)\})?", rest):
        if name not in _KEYWORDS and not re.search(rf'"[^"]*\b{name}\b[^"]*"|\b{name}=', rest):
            yield name, set(re.findall(r"(\w+)=", filters)) | grouped


def test_every_metric_that_is_asked_for_is_there_with_its_labels() -> None:
    there, num = available() | _OF_PROMETHEUS, 0
    for expression in expressions():
        for name, labels in asked_for(expression):
            num += 1
            assert name in there, f"{name} is no metric: {expression}"
            assert labels <= there[name] | _EVERYWHERE, f"{name} has no such labels: {expression}"
    assert num > 40


def test_what_ray_exports_is_called_as_dashboard_and_alerts_ask_for_it() -> None:
    (monitor,) = (each for each in built(KUBERNETES / "monitoring") if each["kind"] == "PodMonitor")
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    (rule,) = endpoint["metricRelabelings"]
    assert (rule["action"], rule["sourceLabels"], rule["targetLabel"]) == ("replace", ["__name__"], "__name__")
    assert rule["replacement"] == "$1"
    names = {name for expression in expressions() for name, _ in asked_for(expression) if name.startswith("adavae_")}
    assert len(names) > 20
    for name in names:
        renamed = re.fullmatch(rule["regex"], f"ray_{name}")
        assert renamed is not None and renamed[1] == name
    assert re.fullmatch(rule["regex"], "ray_node_cpu_utilization") is None


def test_every_metric_of_ours_is_shown() -> None:
    shown = {name for expression in expressions() for name, _ in asked_for(expression)}
    plain = {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown}
    ours = {re.sub(r"_(bucket|sum|count|created)$", "", name) for name in available() if name.startswith("adavae_")}
    assert {name for name in ours if not {name, f"{name}_total"} & plain} == set()


def test_what_an_alert_says_of_outcomes_is_an_outcome() -> None:
    named = re.findall(r'outcome=~"([^"]*)"', " ".join(rule["expr"] for rule in alerts()))
    assert named
    assert {each for alternatives in named for each in alternatives.split("|")} <= set(map(str, Outcome))


def test_every_alert_says_what_to_do_and_every_panel_what_it_shows() -> None:
    names = [rule["alert"] for rule in alerts()]
    assert len(set(names)) == len(names)
    assert all({"summary", "description"} <= rule["annotations"].keys() for rule in alerts())
    panels = [panel for panel in dashboard()["panels"] if panel["type"] != "row"]
    assert all(panel["description"] and panel["title"] for panel in panels)
    assert len({panel["id"] for panel in dashboard()["panels"]}) == len(dashboard()["panels"])


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ('sum by (a) (rate(x_total{b=~"c",d="e"}[5m])) / y', [("x_total", {"a", "b", "d"}), ("y", {"a"})]),
        ("histogram_quantile(0.95, sum by (le) (rate(z_bucket[5m]))) > 10", [("z_bucket", {"le"})]),
    ],
)
def test_names_and_labels_are_found_in_an_expression(expression: str, expected: list[tuple[str, set[str]]]) -> None:
    assert list(asked_for(expression)) == expected

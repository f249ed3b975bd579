"""The dashboard, the alerts and the documentation name the metrics and labels that there are."""

import json
import re
from types import SimpleNamespace
from typing import Any

import asyncpg
import promql_parser
import pytest
import yaml
from prometheus_client.metrics_core import Metric
from promql_parser import AggModifierType, Expr

from community_directory.database import engine
from community_directory.errors import DatabaseUnavailable, MemberNotFound
from community_directory.metrics import Metrics
from community_directory.queries.feed import Follower, open_followers
from community_directory.queries.observation import call_durations
from tests.processes import PROJECT
from tests.queries.cases import HELPERS

ALERTS = yaml.safe_load((PROJECT / "deploy/prometheus/alerts.yml").read_text())
RULES: list[dict[str, Any]] = [rule for group in ALERTS["groups"] for rule in group["rules"]]
DASHBOARD = json.loads((PROJECT / "deploy/grafana/community-directory.json").read_text())
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
MONITOR = (PROJECT / "docs/how-to/monitor.md").read_text()
GROWTH = (PROJECT / "docs/operate/growth.md").read_text()

OF_PROMETHEUS = {"up": {"job", "instance"}}
"""The metrics that Prometheus itself adds, and their labels."""
OF_SCRAPE = {"job", "instance"}
"""The labels that Prometheus adds to every metric."""

EXPRESSIONS = [
    *((rule["alert"], rule["expr"]) for rule in RULES),
    *(
        # Grafana replaces its variables before Prometheus sees the expression.
        (panel["title"], target["expr"].replace("$__rate_interval", "5m"))
        for panel in PANELS
        for target in panel["targets"]
    ),
    *(
        ("growth.md", query)
        for query in re.findall(r"^```promql\n(.*?)^```", GROWTH, re.MULTILINE | re.DOTALL)
    ),
]


@pytest.fixture
def families(directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch) -> list[Metric]:
    """The metrics of a process in which everything has happened once."""
    metrics = Metrics()
    for outcome in ("ok", "refused", "failed", "cancelled"):
        call_durations["members.get", outcome].add(0.001)
    metrics.call_failed("members.get", DatabaseUnavailable("It is away."))
    metrics.call_failed("invitations.redeem", MemberNotFound("#1"))
    metrics.call_returned("participation.record", None)
    metrics.connection_awaited(0.001)
    metrics.read_answered("replica")
    for outcome in ("succeeded", "failed"):
        metrics.job_ended("roll_up_recent", outcome, 1)
    metrics.request_ended(200, 0.001)
    monkeypatch.setattr(engine, "replicas", SimpleNamespace(get_ages=lambda: {"b:5432": 0.1}))
    follower = Follower("bot", None)
    follower.caught_up_at = 0.0
    open_followers.add(follower)
    found = list(metrics.registry.collect())
    open_followers.discard(follower)
    monkeypatch.undo()
    return found


@pytest.fixture
def labels(families: list[Metric]) -> dict[str, set[str]]:
    """The labels of each sample, by its name."""
    return {
        sample.name: set(sample.labels)
        for family in families
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def parse(expression: str) -> list[Any]:
    """Return all parts of an expression; a wrong one raises an error."""
    parts: list[Any] = []

    def visit(part: Expr) -> None:
        parts.append(part.vector_selector if hasattr(part, "vector_selector") else part)

    promql_parser.walk(promql_parser.parse(expression), visit)
    return parts


def selectors(expression: str) -> list[Any]:
    return [part for part in parse(expression) if isinstance(part, promql_parser.VectorSelector)]


@pytest.mark.parametrize(("name", "expression"), EXPRESSIONS)
async def test_an_expression_names_metrics_and_labels_that_there_are(
    labels: dict[str, set[str]], name: str, expression: str
) -> None:
    known = {**labels, **OF_PROMETHEUS}
    found = selectors(expression)
    assert found
    of_all: set[str] = set(OF_SCRAPE)
    for selector in found:
        assert selector.name in known, selector.name
        of_all |= known[selector.name]
        for matcher in selector.matchers.matchers:
            assert matcher.name in known[selector.name] | OF_SCRAPE, matcher.name
    for part in parse(expression):
        if isinstance(part, promql_parser.AggregateExpr) and part.modifier:
            assert part.modifier.type == AggModifierType.By
            assert set(part.modifier.labels) <= of_all
        if isinstance(part, promql_parser.Call) and part.func.name == "histogram_quantile":
            [inner] = set(re.findall(r"sum by \(([^)]*)\)", str(part.args[1])))
            assert "le" in inner.split(", ")


def test_the_texts_of_alerts_name_labels_that_their_expression_keeps() -> None:
    for rule in RULES:
        kept = set(OF_SCRAPE)
        for part in parse(rule["expr"]):
            if isinstance(part, promql_parser.AggregateExpr):
                kept = set(part.modifier.labels) if part.modifier else set()
                break
        for text in rule["annotations"].values():
            assert set(re.findall(r"\$labels\.(\w+)", text)) <= kept, rule["alert"]
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert rule["annotations"].keys() == {"summary", "description"}


def test_a_helper_a_code_or_a_job_that_an_alert_names_exists() -> None:
    for rule in RULES:
        for selector in selectors(rule["expr"]):
            for matcher in selector.matchers.matchers:
                if matcher.name == "helper":
                    pattern = matcher.value
                    named = re.sub(r"\[\.\]", ".", pattern)
                    for group in named.split(")|"):
                        module, _, names = group.rstrip(")").partition(".(")
                        for name in names.split("|"):
                            assert f"{module}.{name}" in {*HELPERS, "participation.recorder"}
                if matcher.name == "job_name":
                    assert f"async def {matcher.value}(" in "".join(
                        (PROJECT / f"community_directory/{module}.py").read_text()
                        for module in ("jobs", "backup")
                    )
                if matcher.name == "code":
                    assert matcher.value == DatabaseUnavailable.code


async def test_every_metric_of_ours_is_drawn_or_raises_an_alert(
    families: list[Metric],
) -> None:
    used = {selector.name for _, expression in EXPRESSIONS for selector in selectors(expression)}
    for family in families:
        if family.name.startswith("directory_"):
            samples = {sample.name for sample in family.samples}
            assert samples & used, family.name


async def test_every_metric_of_ours_is_documented_with_its_labels(
    families: list[Metric], labels: dict[str, set[str]]
) -> None:
    rows = re.findall(r"^\| `(directory_\w+)` \|([^|]*)\|", MONITOR, re.MULTILINE)
    documented = {name: set(re.findall(r"`(\w+)`", named)) for name, named in rows}
    expected = {}
    for family in families:
        if family.name.startswith("directory_"):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            sample = f"{name}_count" if family.type == "histogram" else name
            expected[name] = labels[sample]
    assert documented == expected


def test_the_pages_name_no_metric_or_alert_that_there_is_not(
    families: list[Metric],
) -> None:
    known = {sample.name for family in families for sample in family.samples}
    known |= {family.name for family in families}
    subjects = "|".join({name.split("_")[1] for name in known if name.startswith("directory_")})
    for page in (MONITOR, GROWTH):
        assert set(re.findall(rf"\bdirectory_(?:{subjects})\w*", page)) <= known
    alerts = {rule["alert"] for rule in RULES}
    for page in (MONITOR, GROWTH):
        assert set(re.findall(r"`(Directory[A-Z]\w+)`", page)) <= alerts


def test_every_alert_about_growth_is_explained() -> None:
    growth = [rule["alert"] for rule in RULES if rule["labels"]["severity"] == "info"]
    assert len(growth) > 2
    assert all(f"`{alert}`" in GROWTH for alert in growth)


def test_the_panels_of_the_dashboard_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))

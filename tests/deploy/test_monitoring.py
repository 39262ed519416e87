"""The rules and the dashboard work with a real Prometheus that scrapes a real server."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from loadtest.stubs import SentimentStub
from sentiment_conv1d.model.artifact import copy
from sentiment_conv1d.protos.sentiment_pb2 import PredictRequest
from tests.deploy.prometheus import MONITORING, Labels, Prometheus
from tests.processes import PROJECT, ServerProcess
from tests.programs import output
from tests.service.artifacts import shipped_copy
from tests.service.grpc.channels import connect

DASHBOARD = json.loads((MONITORING / "grafana" / "dashboards" / "sentiment.json").read_text())
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES: list[str] = [target["expr"] for panel in PANELS for target in panel["targets"]]

RULES: list[dict[str, Any]] = [
    rule
    for file in sorted((MONITORING / "rules").glob("*.yml"))
    for group in yaml.safe_load(file.read_text())["groups"]
    for rule in group["rules"]
]
RECORDED: list[str] = [rule["record"] for rule in RULES if "record" in rule]
ALERTS: dict[str, str] = {rule["alert"]: rule["expr"] for rule in RULES if "alert" in rule}

#: Every series of the service. Histograms have their common name.
DOCUMENTED: list[str] = re.findall(
    r"^\| `(sentiment_\w+)` ", (PROJECT / "docs" / "metrics.md").read_text(), re.MULTILINE
)

TEXTS = ("A gripping, beautifully acted film.", "Two dull hours.", "zxqv " * 500)

#: Requests per connection. REST connections are open at the same time, so that each worker gets half of them.
CONNECTIONS, REST_REQUESTS, REST_BATCHES, GRPC_REQUESTS, WRONG_REQUESTS = 4, 31, 5, 23, 3


class Watched:
    """A server with two workers, its Prometheus, and the samples before the first request."""

    def __init__(self, server: ServerProcess, prometheus: Prometheus) -> None:
        self.server = server
        self.prometheus = prometheus
        prometheus.scraped()
        self.series_at_first = self.series()

    def series(self) -> set[Labels]:
        """Every series of the server."""
        return set(self.prometheus.query('{__name__=~"sentiment_.+"}'))

    def send(self) -> None:
        """Send requests of every kind, over several connections of each protocol."""
        with ExitStack() as stack:
            for _ in range(CONNECTIONS):
                client = stack.enter_context(httpx.Client(base_url=self.server.url, trust_env=False))
                for number in range(REST_REQUESTS):
                    client.post("/v1/predict", json={"text": TEXTS[number % len(TEXTS)]}).raise_for_status()
                for _ in range(REST_BATCHES):
                    client.post("/v1/predict_batch", json={"texts": TEXTS}).raise_for_status()
                for _ in range(WRONG_REQUESTS):
                    assert client.post("/v1/predict", json={"txt": ""}).status_code == 422
                stub = SentimentStub(stack.enter_context(connect(self.server, use_local_subchannel_pool=1)))
                for number in range(GRPC_REQUESTS):
                    stub.Predict(PredictRequest(text=TEXTS[number % len(TEXTS)]))


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Run everything and send the requests. Version 1 answers them, and version 2 is the shadow version."""
    folder: Path = tmp_path_factory.mktemp("prometheus")
    repository: Path = tmp_path_factory.mktemp("repository")
    copy(shipped_copy(repository), repository / "imdb-cnn" / "2")
    flags = ("--workers", "2", "--versions", "all", "--split", "imdb-cnn=1:1", "--shadow", "imdb-cnn=2:100")
    with (
        ServerProcess(*flags, repository=repository) as server,
        Prometheus(server.port, folder) as prometheus,
    ):
        watched = Watched(server, prometheus)
        watched.send()
        yield watched


@pytest.mark.parametrize(
    ("selector", "sent"),
    [
        ('protocol="rest", route="/v1/predict", status="200"', CONNECTIONS * REST_REQUESTS),
        ('protocol="rest", route="/v1/predict", status="422"', CONNECTIONS * WRONG_REQUESTS),
        ('protocol="rest", route="/v1/predict_batch", status="200"', CONNECTIONS * REST_BATCHES),
        ('protocol="grpc", route="/sentiment.v1.Sentiment/Predict", status="OK"', CONNECTIONS * GRPC_REQUESTS),
        ('protocol="grpc"', CONNECTIONS * GRPC_REQUESTS),
        ('model="imdb-cnn", version="1"', CONNECTIONS * (REST_REQUESTS + REST_BATCHES + GRPC_REQUESTS)),
    ],
)
def test_counts_are_exact(watched: Watched, selector: str, sent: int) -> None:
    """Prometheus counts exactly the sent requests, whichever worker answered them."""
    total = f"sum(sentiment_requests_total{{{selector}}})"
    watched.prometheus.eventually(f"{total} == {sent}")
    watched.prometheus.scraped()
    assert watched.prometheus.query(total) == {frozenset(): sent}


def test_texts_are_exact(watched: Watched) -> None:
    """Every text of every request is counted once."""
    texts = CONNECTIONS * (REST_REQUESTS + GRPC_REQUESTS + REST_BATCHES * len(TEXTS))
    for total in ("sum(sentiment_texts_total)", "sum(sentiment_score_count)"):
        watched.prometheus.eventually(f"{total} == {texts}")


def test_series_before_the_first_request(watched: Watched) -> None:
    """Every series exists before the first request, so that no increase is missed."""
    watched.prometheus.scraped()
    assert watched.series_at_first == watched.series()
    seen = {re.sub("_(bucket|sum|count)$", "", dict(labels)["__name__"]) for labels in watched.series_at_first}
    assert seen == set(DOCUMENTED)


@pytest.mark.parametrize("series", RECORDED)
def test_recorded_series_have_data(watched: Watched, series: str) -> None:
    """Every recording rule produces data."""
    assert watched.prometheus.eventually(series)


@pytest.mark.parametrize("alert", ALERTS)
def test_data_of_alerts(watched: Watched, alert: str) -> None:
    """The expression of every alert returns data if its threshold is removed."""
    expression, thresholds = re.subn(r" [<>] [\d.]+", "", ALERTS[alert])
    assert thresholds
    assert watched.prometheus.eventually(expression)


def test_rules(watched: Watched) -> None:
    """Prometheus evaluates every rule without an error, and no alert fires."""
    watched.prometheus.eventually("sentiment:unsure:ratio1w")
    rules = [rule for group in watched.prometheus.get("rules")["groups"] for rule in group["rules"]]
    assert {rule["name"] for rule in rules} == {*RECORDED, *ALERTS}
    assert {rule["health"] for rule in rules} == {"ok"}
    assert [rule["name"] for rule in rules if rule.get("state") == "firing"] == []


@pytest.mark.parametrize("query", QUERIES)
def test_dashboard_has_data(watched: Watched, query: str) -> None:
    """Every query of the dashboard returns data."""
    expression = query.replace("$__rate_interval", "1m").replace("$job", "sentiment")
    assert "$" not in expression
    assert watched.prometheus.eventually(expression)


def test_autoscaler_has_data(watched: Watched) -> None:
    """The query of prometheus-adapter has one value per pod, here per instance."""
    [rule] = yaml.safe_load((PROJECT / "deploy/kubernetes/prometheus-adapter.yaml").read_text())["rules"]["custom"]
    query = rule["metricsQuery"].replace("<<.Series>>", rule["name"]["as"])
    query = query.replace("<<.LabelMatchers>>", 'job="sentiment"').replace("<<.GroupBy>>", "instance")
    assert len(watched.prometheus.eventually(query)) == 1


def test_panels() -> None:
    """Panels do not overlap, have descriptions and use the selected data source."""
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken and all(x < 24 for x, _ in cells)
        taken |= cells
    for panel in PANELS:
        assert panel["title"] and panel["description"]
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}
    assert {variable["name"] for variable in DASHBOARD["templating"]["list"]} == {"datasource", "job"}


def test_dashboard_is_complete() -> None:
    """The dashboard uses every series of docs/metrics.md, directly or through a recording rule."""
    shown = "\n".join((*QUERIES, *(rule["expr"] for rule in RULES if rule.get("record", "") in "".join(QUERIES))))
    assert [name for name in DOCUMENTED if name not in shown] == []


def test_promtool() -> None:
    """promtool accepts and lints the configuration and the rules."""
    output("promtool", "check", "config", "--lint=all", "--lint-fatal", str(MONITORING / "prometheus.yml"))
    rules = map(str, sorted((MONITORING / "rules").glob("*.yml")))
    output("promtool", "check", "rules", "--lint=all", "--lint-fatal", *rules)


def test_tests_of_alerts() -> None:
    """The rules' tests pass, and every alert has one."""
    files = sorted((MONITORING / "tests").glob("*.yml"))
    output("promtool", "test", "rules", *map(str, files))
    tests = [test for file in files for test in yaml.safe_load(file.read_text())["tests"]]
    fired = {case["alertname"] for test in tests for case in test.get("alert_rule_test", ()) if case.get("exp_alerts")}
    assert fired == set(ALERTS)


def test_grafana() -> None:
    """The provisioned data source is the Prometheus of docker-compose.yml, and Grafana finds the dashboard."""
    compose = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())["services"]
    provisioning = MONITORING / "grafana" / "provisioning"
    [source] = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    [provider] = yaml.safe_load((provisioning / "dashboards" / "sentiment.yml").read_text())["providers"]
    assert source["url"] == "http://prometheus:9090" and "prometheus" in compose
    mounts = dict(volume.split(":")[1::-1] for volume in compose["grafana"]["volumes"])
    assert mounts["/etc/grafana/provisioning"] == "./deploy/monitoring/grafana/provisioning"
    assert mounts[provider["options"]["path"]] == "./deploy/monitoring/grafana/dashboards"
    scraping = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    assert source["jsonData"]["timeInterval"] == scraping["global"]["scrape_interval"]
    assert {
        name for job in scraping["scrape_configs"] for each in job["dns_sd_configs"] for name in each["names"]
    } <= set(compose)

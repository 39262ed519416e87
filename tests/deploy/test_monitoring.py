"""The rules and the dashboard work with a real Prometheus that scrapes a real server."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import yaml

from sentiment_conv1d.artifact.artifact import copy
from sentiment_conv1d.artifact.manifest import TOKENIZER_FILE
from sentiment_conv1d.protos.sentiment_pb2 import PredictRequest
from sentiment_conv1d.stubs import SentimentStub
from tests.deploy.prometheus import MONITORING, Labels, Prometheus
from tests.processes import PATIENCE, PROJECT, ServerProcess
from tests.programs import output
from tests.service.artifacts import shipped_copy
from tests.service.certificates import Authority, authority

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

#: The sections of the runbook by their alerts.
RUNBOOK: dict[str, str] = dict(
    re.findall(r"^## (\w+)\n(.+?)(?=^## |\Z)", (PROJECT / "docs" / "runbook.md").read_text(), re.MULTILINE | re.DOTALL)
)
RUNBOOK_QUERIES: list[str] = [
    query
    for section in RUNBOOK.values()
    for block in re.findall(r"^```promql\n(.+?)^```", section, re.MULTILINE | re.DOTALL)
    for query in block.splitlines()
]

__all__ = ["authority"]

#: Every series of the service. Histograms have their common name.
DOCUMENTED: list[str] = re.findall(
    r"^\| `(sentiment_\w+)` ", (PROJECT / "docs" / "metrics.md").read_text(), re.MULTILINE
)

TEXTS = ("A gripping, beautifully acted film.", "Two dull hours.", "zxqv " * 500)

#: Requests per connection. REST connections are open at the same time, so that each worker gets half of them.
CONNECTIONS, REST_REQUESTS, REST_BATCHES, GRPC_REQUESTS, WRONG_REQUESTS = 4, 31, 5, 23, 3


class Watched:
    """A server with two workers, its Prometheus, and the samples before the first request."""

    def __init__(self, server: ServerProcess, authority: Authority, prometheus: Prometheus) -> None:
        self.server = server
        self.authority = authority
        self.prometheus = prometheus
        prometheus.scraped()
        self.series_at_first = self.series()

    def series(self) -> set[Labels]:
        """Every series of the server. After a scrape that failed, there is none until the next one."""
        return set(self.prometheus.eventually('{__name__=~"sentiment_.+"}'))

    def send(self) -> None:
        """Send requests of every kind, over several connections of each protocol."""
        trusted = self.authority.certificate
        rest = f"https://127.0.0.1:{self.server.port}"
        credentials = grpc.ssl_channel_credentials(trusted.read_bytes())
        options = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
        with ExitStack() as stack:
            for _ in range(CONNECTIONS):
                verify = ssl.create_default_context(cafile=str(trusted))
                client = stack.enter_context(
                    httpx.Client(base_url=rest, verify=verify, timeout=PATIENCE, trust_env=False)
                )
                for number in range(REST_REQUESTS):
                    client.post("/v1/predict", json={"text": TEXTS[number % len(TEXTS)]}).raise_for_status()
                for _ in range(REST_BATCHES):
                    client.post("/v1/predict_batch", json={"texts": TEXTS}).raise_for_status()
                for _ in range(WRONG_REQUESTS):
                    assert client.post("/v1/predict", json={"txt": ""}).status_code == 422
                channel = grpc.secure_channel(f"127.0.0.1:{self.server.grpc_port}", credentials, options)
                stub = SentimentStub(stack.enter_context(channel))
                for number in range(GRPC_REQUESTS):
                    stub.Predict(PredictRequest(text=TEXTS[number % len(TEXTS)]))


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Watched]:
    """Run everything and send the requests.

    Version 1 answers them, version 2 has a label, and version 3 is refused at the start.
    """
    folder: Path = tmp_path_factory.mktemp("prometheus")
    repository: Path = tmp_path_factory.mktemp("repository")
    copy(shipped_copy(repository), repository / "imdb-cnn" / "2")
    copy(repository / "imdb-cnn" / "2", repository / "imdb-cnn" / "3")
    (repository / "imdb-cnn" / "3" / TOKENIZER_FILE).write_text("{}")
    flags = ["--workers", "2", "--versions", "all", "--version-labels", "imdb-cnn=default:1,candidate:2"]
    certificate, key = authority.issue("server").pair
    flags += ["--tls-certificate", certificate, "--tls-key", key]
    with (
        ServerProcess(*flags, repository=repository) as server,
        Prometheus(server.port, folder) as prometheus,
    ):
        watched = Watched(server, authority, prometheus)
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
    assert watched.prometheus.eventually(total) == {frozenset(): sent}


def test_totals_are_exact(watched: Watched) -> None:
    """The total of a protocol has all requests except scrapes."""
    rest = CONNECTIONS * (REST_REQUESTS + REST_BATCHES + WRONG_REQUESTS)
    for protocol, sent in (("rest", rest), ("grpc", CONNECTIONS * GRPC_REQUESTS)):
        watched.prometheus.eventually(f'sum(sentiment_protocol_requests_total{{protocol="{protocol}"}}) == {sent}')


def test_texts_are_exact(watched: Watched) -> None:
    """Every text of every request is counted once."""
    texts = CONNECTIONS * (REST_REQUESTS + GRPC_REQUESTS + REST_BATCHES * len(TEXTS))
    for total in ("sum(sentiment_texts_total)", "sum(sentiment_score_count)"):
        watched.prometheus.eventually(f"{total} == {texts}")


def test_series_before_the_first_request(watched: Watched) -> None:
    """Every series exists before the first request, except those of routes that begin with theirs."""
    watched.prometheus.scraped()
    later = watched.series() - watched.series_at_first
    assert watched.series_at_first < watched.series()
    assert {dict(labels)["route"] for labels in later} == {"/v1/predict_batch", "/metrics"}
    seen = {re.sub("_(bucket|sum|count)$", "", dict(labels)["__name__"]) for labels in watched.series_at_first}
    assert set(DOCUMENTED) - seen == {"sentiment_key_requests_total", "sentiment_key_refused_total"}  # without keys
    assert seen <= set(DOCUMENTED)


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


@pytest.mark.parametrize("query", RUNBOOK_QUERIES)
def test_queries_of_the_runbook(watched: Watched, query: str) -> None:
    """Prometheus answers every query of the runbook, and there is data without its threshold."""
    assert watched.prometheus.eventually(query.removesuffix(" > 0"))


@pytest.mark.parametrize("query", [query for query in QUERIES if "sentiment_key_" not in query])
def test_dashboard_has_data(watched: Watched, query: str) -> None:
    """Every query of the dashboard returns data, except those of API keys, which this service does not have."""
    expression = query.replace("$__rate_interval", "1h").replace("$job", "sentiment")
    assert "$" not in expression
    assert watched.prometheus.eventually(expression)


def test_autoscaler_has_data(watched: Watched) -> None:
    """The query of prometheus-adapter has one value per pod, here per instance."""
    [rule] = yaml.safe_load((MONITORING / "prometheus-adapter.yml").read_text())["rules"]["custom"]
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


def test_lint_of_metrics(watched: Watched) -> None:
    """promtool has nothing to say about the names and the format of the metrics."""
    verify = ssl.create_default_context(cafile=str(watched.authority.certificate))
    url = f"https://127.0.0.1:{watched.server.port}/metrics"
    exposition = httpx.get(url, verify=verify, timeout=PATIENCE, trust_env=False)
    output("promtool", "check", "metrics", given=exposition.text)


def test_tests_of_alerts() -> None:
    """The rules' tests pass, and every alert has one in which it fires and one in which it does not."""
    files = sorted((MONITORING / "tests").glob("*.yml"))
    output("promtool", "test", "rules", *map(str, files))
    tests = [test for file in files for test in yaml.safe_load(file.read_text())["tests"]]
    cases = [case for test in tests for case in test.get("alert_rule_test", ())]
    for fires in (True, False):
        assert {case["alertname"] for case in cases if bool(case.get("exp_alerts")) == fires} == set(ALERTS)


def test_alertmanager() -> None:
    """Prometheus sends alerts to the Alertmanager of docker-compose.yml, which has a receiver for each severity."""
    services = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())["services"]
    [manager] = yaml.safe_load((MONITORING / "prometheus.yml").read_text())["alerting"]["alertmanagers"]
    assert manager["static_configs"] == [{"targets": ["alertmanager:9093"]}] and "alertmanager" in services
    mounted = "/etc/alertmanager/alertmanager.yml"
    assert f"./deploy/monitoring/alertmanager.yml:{mounted}:ro" in services["alertmanager"]["volumes"]
    assert f"--config.file={mounted}" in services["alertmanager"]["command"]
    file = str(MONITORING / "alertmanager.yml")
    output("amtool", "check-config", file)
    severities = {rule["labels"]["severity"] for rule in RULES if "alert" in rule}
    receivers = {
        severity: output("amtool", "config", "routes", "test", f"--config.file={file}", f"severity={severity}").strip()
        for severity in severities
    }
    assert receivers == {"critical": "on-call", "warning": "working-hours"}


def test_inhibitions() -> None:
    """A critical alert inhibits a warning, and both exist."""
    labels = {rule["alert"]: rule for rule in RULES if "alert" in rule}
    for rule in yaml.safe_load((MONITORING / "alertmanager.yml").read_text())["inhibit_rules"]:
        [source], [target] = (
            re.findall(r'^alertname="(\w+)"$', matcher)
            for name in ("source", "target")
            for matcher in rule[f"{name}_matchers"]
        )
        assert labels[source]["labels"]["severity"] == "critical"
        assert labels[target]["labels"]["severity"] == "warning"


def test_runbook() -> None:
    """Every alert links to its section of the runbook, every section belongs to an alert, and says what to look at."""
    links = {rule["alert"]: rule["annotations"]["runbook_url"] for rule in RULES if "alert" in rule}
    assert links == {alert: f"https://runbooks.example/runbook.md#{alert.lower()}" for alert in RUNBOOK}
    assert [
        alert for alert, section in RUNBOOK.items() if not re.search("First look.*Action", section, re.DOTALL)
    ] == []


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

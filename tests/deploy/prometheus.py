"""Runs Debian's Prometheus with the project's configuration."""

from __future__ import annotations

import math
import re
import subprocess
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import yaml

from tests.processes import PATIENCE, PROJECT
from tests.programs import find

MONITORING = PROJECT / "deploy" / "monitoring"

#: Seconds between scrapes and between evaluations, short for fast tests.
INTERVAL = 0.5

_LISTENING = re.compile(r'msg="Listening on" address=(\S+)')

Labels = frozenset[tuple[str, str]]


def configuration(port: int) -> dict[str, Any]:
    """Return deploy/monitoring/prometheus.yml for a server with TLS on this machine, with shorter intervals.

    Alerts go nowhere.
    """
    document: dict[str, Any] = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    interval = f"{INTERVAL * 1000:.0f}ms"
    document["global"] = dict.fromkeys(document["global"], interval)
    document["rule_files"] = [str(MONITORING / pattern) for pattern in document["rule_files"]]
    del document["alerting"]
    [job] = document["scrape_configs"]
    del job["dns_sd_configs"]
    job["static_configs"] = [{"targets": [f"127.0.0.1:{port}"]}]
    job |= {"scheme": "https", "tls_config": {"insecure_skip_verify": True}}
    return document


class Prometheus:
    """Scrape a server at a port in a `with` block. `folder` stores the data."""

    def __init__(self, port: int, folder: Path) -> None:
        file = folder / "prometheus.yml"
        file.write_text(yaml.safe_dump(configuration(port)))
        self._process = subprocess.Popen(
            [
                *(find("prometheus"), "--config.file", str(file), "--storage.tsdb.path", str(folder / "data")),
                *("--web.listen-address", "127.0.0.1:0"),
            ],
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stderr is not None
        log = ""
        for line in self._process.stderr:
            log += line
            if "Server is ready" in line:
                break
        match = _LISTENING.search(log)
        assert match, log
        # Unread output would fill the pipe.
        self._drain = threading.Thread(target=self._process.stderr.read, daemon=True)
        self._drain.start()
        self._client = httpx.Client(base_url=f"http://{match[1]}/api/v1", timeout=PATIENCE, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._client.close()
        self._process.terminate()
        try:
            self._process.wait(PATIENCE)
        finally:
            self._process.kill()
            self._process.wait()
            self._drain.join(PATIENCE)
            assert self._process.stderr is not None
            self._process.stderr.close()

    def get(self, path: str, **parameters: str) -> Any:
        """Call Prometheus' API and return the data. The call must succeed."""
        response = self._client.get(path, params=parameters)
        assert response.status_code == httpx.codes.OK, f"{parameters}: {response.text}"
        return response.json()["data"]

    def query(self, expression: str) -> dict[Labels, float]:
        """Return the current samples of an expression by their labels, without NaN."""
        result = self.get("query", query=expression)["result"]
        samples = {frozenset(each["metric"].items()): float(each["value"][1]) for each in result}
        return {labels: value for labels, value in samples.items() if not math.isnan(value)}

    def eventually(self, expression: str) -> dict[Labels, float]:
        """Wait for samples of an expression and return them."""
        deadline = time.monotonic() + PATIENCE
        while not (samples := self.query(expression)):
            assert time.monotonic() < deadline, f"no data: {expression}"
        return samples

    def scraped(self) -> None:
        """Wait until the current values have been scraped successfully."""
        self.eventually(f"timestamp(up) > {time.time()} and up == 1")

"""Faults of version labels: the version of `default` is missing, and changes that contradict each other."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import httpx

from sentiment_conv1d.artifact.manifest import GRAPH_FILE
from tests.faults.load import CALLERS, Answers, Load
from tests.faults.report import Report, check, replace_worker
from tests.faults.services import damage, publish
from tests.faults.tally import RIGHT
from tests.processes import PATIENCE, ServerProcess
from tests.service.process.test_supervisor import versions


async def missing_version(short: bool) -> Report:
    """(k) The version labelled `default` is damaged, then repaired, then removed: no other version ever answers."""
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder)
        answers = [publish(repository) for _ in range(3)][-1]
        first = repository / "tickets" / "1"
        whole = damage(first / GRAPH_FILE)
        labels = ("--version-labels", "tickets=default:1")
        flags = ("--workers", "2", "--versions", "all", *labels, "--watch-interval", "0.2")
        with ServerProcess(*flags, repository=repository) as server:
            load = Load(server.port, server.grpc_port, Answers(answers.texts, {"1": answers.by_version["1"]}))
            async with load.running():
                await load.go_on(200 if short else 5000)
                await replace_worker(server)
                await load.go_on(200)
                assert not load.tally.counts[RIGHT]
                ready = await asyncio.to_thread(server.client.get, "/readyz")
                assert ready.status_code == 503 and "tickets: version 1, labelled 'default'" in ready.text
                (first / GRAPH_FILE).write_bytes(whole)
                await asyncio.to_thread(server.wait_for_log, "serving tickets version=1")
                await load.go_on(200)  # some of which were refused before
                refused = len(load.tally.refused)
                await load.go_on(200 if short else 5000)
                shutil.rmtree(first)
                await asyncio.to_thread(server.wait_for_log, "contains no version 1 of 'tickets' any more; it stays")
                await replace_worker(server)
                await load.go_on(200 if short else 5000)
            check(load.tally, lost=2 * CALLERS, refused=True)
            assert len(load.tally.refused) == refused, "refused although the version is served"
        return Report(load.tally, [f"/readyz: {ready.json()['error']['message']}", "two workers were killed"])


async def label_race(short: bool) -> Report:
    """(l) Two changes of the label `default` at the same time: afterwards all workers answer with the same version."""
    route = "/v2/repository/models/tickets/routing"
    races = 20 if short else 200
    won: Counter[int] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder)
        answers = [publish(repository) for _ in range(3)][-1]
        allowed = Answers(answers.texts, {version: answers.by_version[version] for version in "12"})
        flags = ("--version-labels", "tickets=default:1", "--admin", "open")
        async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
            with ServerProcess("--workers", "2", "--versions", "all", *flags, repository=repository) as server:
                load = Load(server.port, server.grpc_port, allowed)
                async with load.running():
                    for _ in range(races):
                        changes = ({"labels": {"default": 1, "next": 2}}, {"labels": {"default": 2}})
                        replies = await asyncio.gather(
                            *(client.post(server.url + route, json=change) for change in changes)
                        )
                        assert [reply.status_code for reply in replies] == [200, 200], replies
                        labels = (await client.post(server.url + route)).raise_for_status().json()
                        assert labels in changes, "labels of both changes"
                        version = labels["labels"]["default"]
                        assert await asyncio.to_thread(versions, server, 8) == {str(version): 8}
                        won[version] += 1
                    await load.go_on(200)
                check(load.tally)
    return Report(load.tally, [f"{races} races; version that won: {dict(sorted(won.items()))}"])

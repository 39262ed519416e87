"""The output of wrk, through which every REST figure of the benchmarks passes, is read as wrk means it."""

from __future__ import annotations

import httpx
import pytest

from loadtest.errors import LoadTestError
from loadtest.measurement.saturation import Answers, Script, find, read_wrk
from tests.loadtest import stub

NORMAL = """\
Running 1s test @ http://127.0.0.1:35421/
  1 threads and 4 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.12ms    3.32ms  32.26ms   94.77%
    Req/Sec    42.47k    21.05k   80.73k    70.00%
  Latency Distribution
     50%   52.00us
     75%  726.00us
     90%    2.81ms
     99%   20.17ms
  42242 requests in 1.00s, 1.61MB read
Requests/sec:  42217.60
Transfer/sec:      1.61MB
"""

STATUSES = """\
Running 1s test @ http://127.0.0.1:39841/
  1 threads and 4 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     2.23ms  671.92us   6.45ms   91.86%
    Req/Sec     1.82k    94.58     1.97k    72.73%
  Latency Distribution
     50%    2.04ms
     75%    2.05ms
     90%    2.30ms
     99%    5.53ms
  1993 requests in 1.10s, 81.16KB read
  Non-2xx or 3xx responses: 199
Requests/sec:   1811.55
Transfer/sec:     73.77KB
"""

SECONDS = """\
Running 4s test @ http://127.0.0.1:39385/
  1 threads and 4 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.20s   488.11us   1.20s    66.67%
    Req/Sec     3.00      0.00     3.00    100.00%
  Latency Distribution
     50%    1.20s\x20
     75%    1.20s\x20
     90%    1.20s\x20
     99%    1.20s\x20
  12 requests in 4.01s, 480.00B read
Requests/sec:      2.99
Transfer/sec:     119.64B
"""

TIMEOUTS = """\
Running 6s test @ http://127.0.0.1:40589/
  1 threads and 4 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     0.00us    0.00us   0.00us    -nan%
    Req/Sec     1.00      0.00     1.00    100.00%
  Latency Distribution
     50%    0.00us
     75%    0.00us
     90%    0.00us
     99%    0.00us
  8 requests in 6.02s, 320.00B read
  Socket errors: connect 0, read 0, write 0, timeout 8
Requests/sec:      1.33
Transfer/sec:      53.17B
"""

#: As wrk2 prints it (https://github.com/giltene/wrk2), shortened.
HDR = """\
Running 30s test @ http://127.0.0.1:80/index.html
  2 threads and 100 connections
  Thread calibration: mean lat.: 9747 usec, rate sampling interval: 21 msec
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     6.46ms    1.93ms  12.34ms   67.66%
    Req/Sec     1.05k     1.12k    2.50k    64.84%
  Latency Distribution (HdrHistogram - Recorded Latency)
 50.000%    6.67ms
 75.000%    7.78ms
 90.000%    9.14ms
 99.000%   11.18ms
 99.900%   12.30ms
 99.990%   12.45ms
100.000%   12.50ms
  Detailed Percentile spectrum:
       Value   Percentile   TotalCount 1/(1-Percentile)
       0.921     0.000000            1         1.00
      12.503     1.000000        39500          inf
#[Mean    =        6.460, StdDeviation   =        1.928]
----------------------------------------------------------
  60018 requests in 30.00s, 19.81MB read
Requests/sec:   2000.28
Transfer/sec:    676.18KB
"""

FAILURES = "  Socket errors: connect 1, read 20, write 300, timeout 4000\n  Non-2xx or 3xx responses: 199\n"


@pytest.mark.parametrize(
    ("output", "answers"),
    [
        (NORMAL, Answers(42242, 42217.60, 52e-6, 20.17e-3, 0)),
        (SECONDS, Answers(12, 2.99, 1.2, 1.2, 0)),
        (HDR, Answers(60018, 2000.28, 6.67e-3, 11.18e-3, 0)),
        (NORMAL.replace("20.17ms", " 1.05m"), Answers(42242, 42217.60, 52e-6, 63.0, 0)),
    ],
    ids=["microseconds", "seconds", "HDR table of wrk2", "minutes"],
)
def test_numbers(output: str, answers: Answers) -> None:
    """Latencies are read in the unit that stands behind them, and from the distribution only."""
    assert read_wrk(output) == pytest.approx(answers)


def test_statuses() -> None:
    """An answer that says that it failed is counted as a failure, and not as throughput."""
    assert read_wrk(STATUSES) == pytest.approx(Answers(1993, 1811.55 * 1794 / 1993, 2.04e-3, 5.53e-3, 199))


def test_failures_of_all_kinds() -> None:
    """Broken connections and timeouts are failures as well; the lines stand together if there are both."""
    answers = read_wrk(STATUSES.replace("  Non-2xx or 3xx responses: 199\n", FAILURES))
    assert answers is not None and answers.failed == 1 + 20 + 300 + 4000 + 199


@pytest.mark.parametrize("output", [TIMEOUTS, NORMAL.replace("42242", "0"), "", "unable to connect to 127.0.0.1:1\n"])
def test_no_numbers(output: str) -> None:
    """wrk prints zeros for latencies that it did not measure; they are not taken for answers in no time."""
    assert read_wrk(output) is None


@pytest.mark.skipif(find("wrk") is None, reason="this machine has no wrk")
def test_wrk_itself() -> None:
    """The installed wrk prints what is read: a tenth of the answers of a server fails, and each takes 20 ms or more."""
    with stub.running(delay=0.02, fail_every=10) as url:
        answers = Script("/v1/predict", [b'{"text": "One film."}']).run(url, 4, 1)
    assert answers is not None
    assert answers.failed == pytest.approx(answers.requests / 10, abs=1)
    assert 0.02 <= answers.p50 <= answers.p99
    assert 0 < answers.throughput <= 4 / 0.02


@pytest.mark.skipif(find("wrk") is None, reason="this machine has no wrk")
def test_nobody_answers() -> None:
    """A port where nothing listens gives no numbers."""
    assert Script("/v1/predict", [b"{}"]).run("http://127.0.0.1:1", 1, 1) is None


@pytest.mark.skipif(find("wrk") is None, reason="this machine has no wrk")
def test_ports() -> None:
    """Every port gets its part of the connections, so that no worker of a server stands idle."""
    with stub.running(delay=0.02) as one, stub.running(delay=0.02) as other:
        ports = [int(url.rpartition(":")[2]) for url in (one, other)]
        answers = Script("/v1/predict", [b'{"text": "One film."}']).run(one, 8, 1, ports)
        counts = [len(httpx.get(f"{url}/record", trust_env=False).json()) for url in (one, other)]
    assert answers is not None and answers.failed == 0
    assert counts[0] == pytest.approx(counts[1], rel=0.5)


def test_wrk_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without wrk the error says how to install it."""
    monkeypatch.setattr("loadtest.measurement.saturation.find", lambda program: None)
    with pytest.raises(LoadTestError, match="apt-get install wrk"):
        Script("/", [b""]).command("http://127.0.0.1:1", 1, 1)

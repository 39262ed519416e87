"""`python -m benchmarks.accuracy.few_rows --reviews FOLDER`: what `train` makes of a few rows with opinions.

Trains with `train` and no other flags on 100 to 1,000 rows of domains that no shipped model has learned. The rows to
train on and those to measure on come from `test.parquet`, which has the only rows of these domains. So the models are
thrown away, and nothing may be chosen by these numbers. The figures are means over the seeds.

The last two columns are the accuracies of `reviews` and of the kept network on rows of domains that `reviews` has
learned, which show what the network forgets.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from statistics import mean

import numpy as np
import pyarrow.parquet as pq

from benchmarks.accuracy.training import Row, draw, generated, train_command
from benchmarks.markdown import circumstances, table
from sentiment_conv1d.model.__main__ import main as model_main
from sentiment_conv1d.model.data import Examples
from sentiment_conv1d.model.evaluation.candidate import open_candidate
from sentiment_conv1d.model.evaluation.shipped import measure_shipped

#: The domains, and the numbers of rows to train on.
SETS = {"airline-tweets": (100, 200, 1000), "health-apps": (100, 900), "cr-products": (100,)}

LABELS = ("negative", "positive")

#: The columns with accuracies that `train` prints, and how it prints them.
_PRINTED = {
    "`reviews`, as shipped": r"reviews, as shipped: ([0-9.]+)",
    "your network": r"your network: ([0-9.]+)",
    "continued": r"continued from [^:]+: ([0-9.]+)",
}

HEAD = (
    *("domain", "rows", *_PRINTED, "kept", "linear", "processor seconds"),
    *("`reviews` on its domains", "kept, on these domains"),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all trainings and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reviews", type=Path, default=Path("reviews"), metavar="FOLDER", help="with test.parquet")
    parser.add_argument("--seeds", default="0,1", help="seeds of the rows (default: 0,1)")
    parser.add_argument("--domains", default=",".join(SETS), help="domains (default: all)")
    parser.add_argument("--most-rows", type=int, default=1000, metavar="N", help="train on at most N (default: 1000)")
    parser.add_argument("--test-rows", type=int, default=800, metavar="N", help="rows to measure on (default: 800)")
    parser.add_argument("--smoke", action="store_true", help="a few generated texts; the numbers mean nothing")
    options = parser.parse_args(arguments)
    domains = options.domains.split(",")
    rows = []
    for domain in domains[: 1 if options.smoke else None]:
        pool, learned = _smoke() if options.smoke else read(options.reviews, domain)
        counts = [count for count in SETS[domain] if count <= options.most_rows]
        for count in counts[: 1 if options.smoke else None]:
            found = []
            for seed in map(int, options.seeds.split(",")[: 1 if options.smoke else None]):
                train, test = draw(pool, count, options.test_rows, seed)
                _, known = draw(learned, 0, options.test_rows, seed)
                found.append(measure(train, test, known))
                print(f"{domain}, {count} rows, seed {seed}: {found[-1]}", flush=True)
            rows.append([domain, f"{count:,}", *(f"{mean(column):.3f}" for column in zip(*found, strict=True))])
    print(circumstances(), "", sep="\n")
    print(table(HEAD, rows))


def measure(train: Sequence[Row], test: Sequence[Row], learned: Sequence[Row]) -> list[float]:
    """Train with the defaults. Returns the columns of the table after the number of rows."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = train_command(folder, train, test)
        started = time.process_time()
        with redirect_stdout(StringIO()) as shown, redirect_stderr(StringIO()) as errors:
            status = model_main(command)
        seconds = time.process_time() - started
        if status:
            raise SystemExit(errors.getvalue())
        values = json.loads((folder / "run" / "metrics.json").read_text(encoding="utf-8"))["values"]
        printed = [re.findall(pattern, shown.getvalue())[0] for pattern in _PRINTED.values()]
        texts = [text for text, _ in learned]
        examples = Examples(texts, np.array([LABELS.index(label) for _, label in learned], np.int64))
        shipped = measure_shipped(LABELS, examples)["reviews"]
        kept = open_candidate(folder / "run").evaluate(examples, False)
    accuracies = map(float, (*printed, values["accuracy"], values["baseline_accuracy"]))
    return [*accuracies, seconds, shipped.accuracy, kept.accuracy]


def read(folder: Path, domain: str) -> tuple[list[Row], list[Row]]:
    """Return the rows of a domain, and those of the domains that `reviews` has learned."""
    own, learned = {}, {}
    domains = set(pq.read_table(folder / "train.parquet", columns=["domain"])["domain"].to_pylist())
    content = pq.read_table(folder / "test.parquet", columns=["text", "label", "domain"])
    for text, label, place in zip(*(content[name].to_pylist() for name in ("text", "label", "domain")), strict=True):
        if place == domain:
            own[text] = LABELS[label]
        elif place in domains:
            learned[text] = LABELS[label]
    return list(own.items()), list(learned.items())


def _smoke() -> tuple[list[Row], list[Row]]:
    names = {"bad": "negative", "good": "positive"}
    rows = [(text, names[label]) for text, label in generated()]
    return rows, rows


if __name__ == "__main__":
    main()

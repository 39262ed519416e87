"""Scores texts offline: in a program of yours, a file, or files of any number and size on all cores or a Ray cluster.

`BatchScorer` is a callable over batches, for pandas, Spark, Dask, Ray Data or a loop. `score_file` scores one file in
this process. `run.score_sources`, which the command `predict` calls, scores many in parts and can be resumed.

`model.tables` reads files. The output is written by extension:

    .csv      with "\\n" line ends
    .jsonl    rows of JSONL keep their own keys and spelling; the other two formats take their columns from the first
              row (and round numbers beyond 64 bits)
    .parquet  with the Arrow types of a Parquet input; from JSONL, with the types of the first few hundred rows

Values that JSON or CSV cannot express become:

    timestamps, dates, times   ISO 8601; those with a time zone in UTC
    durations                  seconds
    decimals                   text, all digits kept
    bytes                      base64
    maps                       lists of pairs
    not-a-number, infinite     null in JSON
    null                       an empty field in CSV
    lists, objects             JSON text in CSV
"""

from sentiment_conv1d.scoring.batches import BatchScorer
from sentiment_conv1d.scoring.file import Scorer, default_output, score_file

__all__ = ["BatchScorer", "Scorer", "default_output", "score_file"]

"""Scores texts offline: batches in your own program, or files of any size on all cores.

`BatchScorer` is a callable over batches, for pandas, Spark, Dask, Ray Data or a loop. `run.score_file`, which the
command `predict` calls, scores a file as a stream.

`tables` reads the files. The extension of the output decides its format:

    .csv      with "\\n" line ends
    .jsonl    rows of JSONL input keep their own keys and spelling. The other formats take their columns from the first
              row, and round numbers that do not fit into 64 bits
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

__all__ = ["BatchScorer"]

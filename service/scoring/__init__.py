"""Scoring a file offline: every row of the input, followed by the prediction for its text.

`model.tables` reads the input. The output is written by extension:

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

from sentiment_conv1d.service.scoring.job import Scorer, default_output, score_file

__all__ = ["Scorer", "default_output", "score_file"]

"""Scoring a file offline: every row of the input, followed by what the model says of its text.

Formats go by extension: `.txt`, `.csv`, `.jsonl` and `.parquet` are read, the last three are written.

    .txt      one review a line, in a column `text`; LF or CRLF ends a line, nothing else does
    .csv      a header row, then rows of as many fields; blank lines are skipped; written with "\\n" line ends
    .jsonl    one object a line; blank lines are skipped; rows written to JSONL keep their own keys and spelling, the
              other two take their columns from the first row (and round numbers beyond 64 bits)
    .parquet  written with the Arrow types of a Parquet input; from JSONL, with the types of the first few hundred rows

Text is UTF-8; a byte order mark at the start is no part of it. What JSON or CSV has no value for becomes:

    timestamps, dates, times   ISO 8601; those with a time zone in UTC
    durations                  seconds
    decimals                   text, all digits kept
    bytes                      base64
    maps                       lists of pairs
    not-a-number, infinite     null in JSON
    null                       an empty field in CSV
    lists, objects             JSON text in CSV
"""

from sentiment_conv1d.service.scoring.errors import ScoringError
from sentiment_conv1d.service.scoring.job import Scorer, default_output, score_file

__all__ = ["Scorer", "ScoringError", "default_output", "score_file"]

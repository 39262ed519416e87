"""Classifies the entries of a Redis stream. docs/python.md describes what it guarantees."""

import os
import signal
import threading
import uuid

import redis

import sentiment_conv1d

SOURCE, LABELS, REJECTED, GROUP = "reviews", "reviews:labels", "reviews:rejected", "sentiment"
BATCH, KEEP, CLAIM_MS, MAX_BYTES, TRIES = 256, 1_000_000, 60_000, 100_000, 5


def problem(text: bytes | None) -> str:
    if text is None or len(text) > MAX_BYTES:
        return "no text" if text is None else "too long"
    return "" if text.decode(errors="replace").encode() == text else "not UTF-8"


model, consumer, stop, cursor = sentiment_conv1d.load(), uuid.uuid4().hex, threading.Event(), b"0-0"
broker = redis.Redis.from_url(os.environ.get("REDIS_URL", "redis://localhost"))
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda *_: stop.set())
try:
    broker.xgroup_create(SOURCE, GROUP, id="0", mkstream=True)
except redis.ResponseError as error:
    if not str(error).startswith("BUSYGROUP"):  # another consumer created it
        raise
while not stop.is_set():
    cursor, entries, _ = broker.xautoclaim(SOURCE, GROUP, consumer, CLAIM_MS, cursor, count=1)
    if not entries:
        entries = dict(broker.xreadgroup(GROUP, consumer, {SOURCE: ">"}, BATCH, 1000)).get(SOURCE.encode(), [])
    problems = {key: problem(fields.get(b"text")) for key, fields in entries}
    if any(each["times_delivered"] > TRIES for each in broker.xpending_range(SOURCE, GROUP, "-", "+", 1, consumer)):
        problems = dict.fromkeys(problems, "too many tries")
    good = {key: fields[b"text"].decode() for key, fields in entries if not problems[key]}
    with broker.pipeline() as transaction:
        for key, result in zip(good, model.predict(good.values()), strict=True):
            transaction.xadd(LABELS, {"id": key, "label": result.label, "score": result.score}, maxlen=KEEP)
        for key, reason in problems.items():
            if reason:
                transaction.xadd(REJECTED, {"id": key, "reason": reason}, maxlen=KEEP)
                transaction.hincrby(f"{REJECTED}:count", reason)
        if entries:
            transaction.xack(SOURCE, GROUP, *problems)
        transaction.execute()
broker.xgroup_delconsumer(SOURCE, GROUP, consumer)

"""The settings of the service: every field is a flag, an environment variable and a row of docs/settings.md."""

from __future__ import annotations

import os
from argparse import ArgumentTypeError
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from sentiment_conv1d.commands.default_repository import readable_repository
from sentiment_conv1d.commands.parser import local, suggestion
from sentiment_conv1d.inference.options import BATCH_ROWS, ProviderChoice
from sentiment_conv1d.server.network.buffers import BODY_FACTOR
from sentiment_conv1d.service.errors import StartupError
from sentiment_conv1d.service.version_labels import parse_labels
from sentiment_conv1d.service.version_policy import VersionPolicy

#: The beginning of the environment variables.
ENVIRONMENT_PREFIX = "SENTIMENT_"

#: The least that a request holds besides its body. An ordinary one holds less.
_REQUEST_BYTES = 10 * 1024

#: A path of literal segments.
_ROUTE = r"^(/[A-Za-z0-9._~:-]+)+$"

#: A star, or origins as browsers write them.
_ORIGINS = r"^(\*|https?://[a-z0-9.:\[\]-]+( *, *https?://[a-z0-9.:\[\]-]+)*)$"

#: The most bytes, and the most connections, requests or texts, of any limit. No machine has room for more.
_MOST_BYTES = 1 << 40
_MOST = 1_000_000

_YEAR_SECONDS = 365 * 86_400

#: The fewest seconds between two scans of the model repository. Shorter intervals keep a processor busy.
_LEAST_INTERVAL = 0.1

#: Keys and certificates. An empty value, such as an unset variable in a Compose file, must not turn protection off.
_PROTECTION = frozenset(
    {
        *("tls_certificate", "tls_key", "tls_client_ca"),
        *("api_keys", "api_key_file", "admin_keys", "admin_key_file"),
    }
)


def flag(name: str) -> str:
    """Return the command line flag of a setting."""
    return "--" + name.replace("_", "-")


def variable(name: str) -> str:
    """Return the environment variable of a setting."""
    return ENVIRONMENT_PREFIX + name.upper()


def named(name: str) -> str:
    """Return the flag of a setting, and its variable in parentheses, for messages."""
    return f"{flag(name)} ({variable(name)})"


def _check_path(value: str | os.PathLike[str] | None) -> str | None:
    """Refuse a URL, as flags of type `local_path` do. Raises `ValueError`."""
    try:
        return None if value is None else local(os.fspath(value))
    except ArgumentTypeError as error:
        raise ValueError(error) from None


def _check_target(target: str) -> str:
    if "://" in target or not target:
        url = urlsplit(target)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ValueError("must be a folder, or a URL that begins with http:// or https:// and names a host")
        if "@" in url.netloc:
            raise ValueError("must not contain a user name or a password, which the service would not send")
        _ = url.port  # raises `ValueError` if it is not a port
    return target


LocalPath: TypeAlias = Annotated[Path | None, BeforeValidator(_check_path)]

#: A folder, or the URL of an HTTP server.
LogTarget: TypeAlias = Annotated[str, AfterValidator(_check_target)]


class Settings(BaseModel):
    """The settings. A flag overrides the environment, and the environment overrides the default."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    model_repository: Annotated[str, BeforeValidator(os.fspath)] = Field(
        default_factory=lambda: str(readable_repository()),
        min_length=1,
        description="Folder of the models, `<name>/<version>/`, or its URL, such as `s3://bucket/models` (extra "
        "`remote`). The default is `model_repository` in the working directory, or else the shipped models.",
    )
    model_cache: LocalPath = Field(
        None,
        description="Folder for the copies of models from URLs. None: `sentiment-conv1d` in `$XDG_CACHE_HOME` or "
        "`~/.cache`.",
    )
    default_model: str | None = Field(
        None,
        description="Model for requests that name none. None: the only one; of several, `reviews`, or else `imdb-cnn`.",
    )
    versions: str = Field(
        "newest:1",
        description="Versions of each model to serve: newest:N, all or only:A,B. Prefix NAME= for a single model, as "
        "in `newest:2 imdb-cnn=only:3,4`.",
    )
    version_labels: str = Field(
        "",
        description="Labels that name versions in requests, as in `imdb-cnn=default:3,candidate:4`. `default` "
        "answers the requests that name none; without it, the newest version does.",
    )
    strict: bool = Field(
        False,
        description="Whether the service does not start if a labelled version is not served. Without it, the service "
        "is not ready until every version labelled `default` is served.",
    )
    watch_interval: float = Field(
        2, ge=0, le=3600, description="Seconds between two scans of the model repository; 0 turns them off."
    )
    load_timeout: float = Field(
        60,
        ge=0.1,
        le=3600,
        description="Seconds for a version to open and answer its golden text, or be refused.",
    )
    store_interval: float = Field(
        10,
        ge=0.1,
        le=3600,
        description="Fewest seconds between two listings of a model repository at a URL.",
    )
    store_timeout: float = Field(
        30,
        ge=0.1,
        le=3600,
        description="Seconds to list a model repository at a URL, and ten times that to copy a version.",
    )
    max_bytes: int = Field(
        1 << 30,
        ge=1,
        le=_MOST_BYTES,
        description="Bytes of a version in a model repository at a URL; a larger one is not copied.",
    )
    host: str = Field(
        "127.0.0.1",
        description="Address to listen on. The default admits only this machine, `0.0.0.0` every one; the container "
        "image sets `0.0.0.0`.",
    )
    port: int = Field(
        8000,
        ge=0,
        le=65535,
        description="REST port; 0 chooses a free port and logs it.",
        json_schema_extra={"variables": ["AIP_HTTP_PORT", "PORT"]},
    )
    uds: LocalPath = Field(
        None, description="Path of a Unix domain socket for REST, for its owner and group. None: the port."
    )
    grpc: bool = Field(True, description="Whether to serve gRPC.")
    grpc_port: int = Field(8001, ge=0, le=65535, description="gRPC port; 0 chooses a free port and logs it.")
    grpc_uds: LocalPath = Field(
        None, description="Path of a Unix domain socket for gRPC, for its owner and group. None: the port."
    )
    tls_certificate: LocalPath = Field(
        None, description="A PEM file with the server's certificate chain. REST and gRPC then accept only TLS."
    )
    tls_key: LocalPath = Field(None, description="A PEM file with the certificate's private key.")
    tls_client_ca: LocalPath = Field(
        None, description="A PEM file with authorities, one of which must have signed a caller's certificate."
    )
    cors_origins: str | None = Field(
        None,
        pattern=_ORIGINS,
        description="Origins of web pages that can call the service, separated by commas; `*` for all. None: only "
        "the service's own origin.",
    )
    predict_route: str | None = Field(
        None,
        pattern=_ROUTE,
        description="Additional path that accepts rows under `instances`, as Vertex AI requires.",
        json_schema_extra={"variables": ["AIP_PREDICT_ROUTE"]},
    )
    health_route: str | None = Field(
        None,
        pattern=_ROUTE,
        description="Additional path for readiness, as Vertex AI requires.",
        json_schema_extra={"variables": ["AIP_HEALTH_ROUTE"]},
    )
    execution_provider: ProviderChoice = Field(
        "auto",
        description="auto: CUDA for models that are not folded, if a GPU works, otherwise the CPU. cuda: CUDA, or "
        "the service does not start. cpu: the CPU.",
    )
    native_operator: bool = Field(
        True,
        description="Whether folded models on a CPU use the native operator, if it is installed.",
    )
    device: int = Field(0, ge=0, le=255, description="Number of the CUDA device.")
    workers: int = Field(
        0,
        ge=0,
        le=256,
        description="Worker processes; 0: one per processor of the container, or one if all models use a GPU.",
    )
    worker_timeout: float = Field(
        10, ge=3, le=3600, description="Seconds without a heartbeat until a worker is killed and replaced."
    )
    threads: int = Field(1, ge=1, le=256, description="ONNX Runtime threads per run.")
    batching: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Dynamic batching on a thread. auto: only on CUDA; on a CPU, requests that arrive together run "
        "together.",
    )
    batching_rows: int = Field(BATCH_ROWS, ge=1, le=1024, description="Texts per batch, and per run on CUDA.")
    batching_delay: float = Field(
        0.001,
        ge=0,
        le=1,
        description="Seconds that a text can wait for others under load.",
    )
    api_keys: SecretStr | None = Field(
        None,
        description="API keys, or `NAME KEY`, separated by commas. Callers send one as `Authorization: Bearer` or "
        "`X-API-Key`. Prefer the environment or a file to the command line.",
    )
    api_key_file: LocalPath = Field(
        None, description="A file with one API key per line, or `NAME KEY`, read again when it changes."
    )
    admin: Literal["off", "key", "open"] = Field(
        "off",
        description="Who can load, unload and label models. off: nobody. key: callers with an administration key. "
        "open: everyone.",
    )
    admin_keys: SecretStr | None = Field(
        None, description="Administration keys, sent like API keys and valid where these are."
    )
    admin_key_file: LocalPath = Field(
        None, description="A file with one administration key per line, read again when it changes."
    )
    open_health: bool = Field(
        True,
        description="Whether health routes answer without an API key and, over REST, a client certificate.",
    )
    open_metrics: bool = Field(
        False, description="Whether /metrics answers without an API key or a client certificate."
    )
    open_page: bool = Field(
        False,
        description="Whether the page and the API reference are served without an API key.",
    )
    max_body_bytes: int = Field(
        8 * 1024 * 1024, ge=256, le=1 << 30, description="Bytes per request body; more is a 413."
    )
    max_text_characters: int = Field(1_000_000, ge=1, le=1 << 30, description="Characters per text; more is a 413.")
    max_batch_texts: int = Field(1024, ge=1, le=_MOST, description="Texts per request; more is a 413.")
    max_concurrent_requests: int = Field(
        256, ge=1, le=_MOST, description="Requests that wait or run in one worker; more is a 429."
    )
    max_pending_texts: int = Field(
        2048,
        ge=1,
        le=_MOST,
        description="Texts of the requests that wait or run, counted separately for small and large requests; more "
        "is a 429, first for the caller that has most. Each 4,096 characters of a large request count as one more.",
    )
    max_buffered_bytes: int = Field(
        256 * 1024 * 1024,
        ge=1,
        le=_MOST_BYTES,
        description="Bytes that requests hold in one worker until their answers are written; more is a 429, first "
        "for the caller that holds most. A byte of a REST body counts as five.",
    )
    max_connections: int = Field(
        2048,
        ge=2,
        le=_MOST,
        description="REST connections of one worker; then a new one replaces another. With keys or client "
        "certificates, a sixteenth (at least 16, at most half) is kept for callers that have shown none.",
    )
    max_connections_per_address: int = Field(
        0,
        ge=0,
        le=_MOST,
        description="Connections of one address in one worker, separately for REST and gRPC; more are rejected. 0: "
        "no limit.",
    )
    handshake_timeout: float = Field(10, ge=0.1, le=3600, description="Seconds for a TLS or HTTP/2 handshake.")
    header_timeout: float = Field(10, ge=0.1, le=3600, description="Seconds for the head of a request to arrive.")
    body_timeout: float = Field(30, ge=0.1, le=3600, description="Seconds for a body to arrive; more is a 408.")
    write_timeout: float = Field(
        30, ge=0.1, le=3600, description="Seconds for a caller to read an answer; then its connection is cut."
    )
    request_timeout: float = Field(
        30, gt=0, le=3600, description="Seconds from the end of the body to the answer; more is a 504."
    )
    keep_alive_timeout: int = Field(75, ge=1, le=86400, description="Seconds that an idle REST connection stays open.")
    grpc_max_connections: int = Field(
        1024, ge=2, le=_MOST, description="gRPC connections of one worker, with the same rules as for REST."
    )
    grpc_max_streams: int = Field(
        128,
        ge=1,
        le=128,
        description="Concurrent calls on one gRPC connection; clients let more of them wait.",
    )
    grpc_idle_timeout: float = Field(
        300, ge=0.1, le=86400, description="Seconds that a gRPC connection without a call stays open."
    )
    grpc_max_age: float = Field(
        3600,
        ge=1,
        le=_YEAR_SECONDS,
        description="Seconds, plus or minus a tenth, until the service asks a gRPC caller to reconnect. Running "
        "calls get the same time again.",
    )
    drain_delay: float = Field(
        0, ge=0, le=3600, description="Seconds between SIGTERM, when /readyz returns 503, and the end of listening."
    )
    shutdown_timeout: int = Field(
        25, ge=0, le=3600, description="Seconds for running requests to finish after SIGTERM; the rest get a 503."
    )
    log_format: Literal["console", "json"] = Field(
        "console", description="Format of log lines: for people or for machines."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Lowest level that is logged.")
    access_log: bool = Field(False, description="Whether to log every request; failures are always logged.")
    tracing: bool = Field(
        False,
        description="Whether to send OpenTelemetry traces, which the `OTEL_` variables configure. Needs the extra "
        "`tracing`.",
    )
    request_log: LogTarget | None = Field(
        None, description="Folder, or URL, for a sample of the requests with their predictions."
    )
    request_log_sample: float = Field(0.01, gt=0, le=1, description="Share of the requests in the request log.")
    request_log_texts: bool = Field(
        False, description="Whether the request log contains the texts, which can be personal data."
    )
    request_log_bytes: int = Field(
        16 * 1024 * 1024,
        ge=1,
        le=_MOST_BYTES,
        description="Bytes per file of the request log. A worker has up to five files.",
    )

    @field_validator("watch_interval")
    @classmethod
    def _leaves_time(cls, seconds: float) -> float:
        if 0 < seconds < _LEAST_INTERVAL:
            raise ValueError(f"must be 0, or at least {_LEAST_INTERVAL}")
        return seconds

    @field_validator("versions")
    @classmethod
    def _is_policy(cls, text: str) -> str:
        VersionPolicy(text)
        return text

    @field_validator("version_labels")
    @classmethod
    def _has_labels(cls, text: str) -> str:
        parse_labels(text)
        return text

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        certificate, key = named("tls_certificate"), named("tls_key")
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError(f"{certificate} and {key} go together")
        if self.tls_client_ca is not None and self.tls_certificate is None:
            raise ValueError(
                f"{named('tls_client_ca')} needs {certificate} and {key}: without TLS callers have no certificate"
            )
        if (self.admin == "key") != (self.admin_keys is not None or self.admin_key_file is not None):
            keys = f"{named('admin_keys')} or {named('admin_key_file')}"
            raise ValueError(f"{named('admin')} with the value key, and {keys}, go together")
        if self.max_pending_texts < self.max_batch_texts:
            most = named("max_batch_texts")
            raise ValueError(f"{named('max_pending_texts')} must not be below {most}, {self.max_batch_texts}")
        least = BODY_FACTOR * self.max_body_bytes + _REQUEST_BYTES
        if self.max_buffered_bytes < least:
            most = named("max_body_bytes")
            raise ValueError(f"{named('max_buffered_bytes')} must be at least {least}, for one body of {most}")
        if self.grpc and self.uds == self.grpc_uds and (self.uds is not None or self.port == self.grpc_port != 0):
            raise ValueError(f"{named('grpc_port' if self.uds is None else 'grpc_uds')} must differ from that of REST")
        if self.predict_route is not None and self.predict_route == self.health_route:
            other = named("health_route")
            raise ValueError(f"{named('predict_route')} must differ from {other}, {self.health_route}")
        return self

    def cache_folder(self) -> Path:
        """Return the folder for the copies of models from URLs. Raises `StartupError` if there is no home folder."""
        if self.model_cache is not None:
            return self.model_cache
        try:
            return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sentiment-conv1d"
        except RuntimeError:
            raise StartupError("this user has no home folder: set --model-cache (SENTIMENT_MODEL_CACHE)") from None


def variables(name: str) -> tuple[str, ...]:
    """Return all environment variables of a setting, the service's own first. The first one that is set wins."""
    extra = Settings.model_fields[name].json_schema_extra
    others = extra.get("variables", ()) if isinstance(extra, dict) else ()
    assert isinstance(others, list | tuple)
    return (variable(name), *map(str, others))


def read_settings(flags: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings from parsed flags and the environment.

    Raises `StartupError`, which names the invalid flag or variable. A variable that has the prefix but is not a setting
    is probably a typo, and also an error. An empty variable counts as not set, except for keys and certificates.
    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    known = {variable(name) for name in Settings.model_fields}
    for key in environment:
        if key.startswith(ENVIRONMENT_PREFIX) and key not in known:
            raise StartupError(f"{key} is not a setting{suggestion(key, known)} (serve --help lists the settings)")
    for name in Settings.model_fields:
        protects = name in _PROTECTION
        given = [
            (environment[key], key)
            for key in variables(name)
            if environment.get(key) or (protects and key in environment)
        ]
        if flags.get(name) is not None:
            given.insert(0, (flags[name], flag(name)))
        if given:
            values[name], origins[name] = given[0]
            if protects and not values[name].strip():
                raise StartupError(f"{origins[name]}: the value is empty; give one, or leave the setting out")
    try:
        return Settings(**values)
    except ValidationError as error:
        first = error.errors()[0]
        origin = origins[str(first["loc"][0])] + ": " if first["loc"] else ""
        raise StartupError(f"{origin}{first['msg'].removeprefix('Value error, ')}") from error

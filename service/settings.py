"""Every setting of the server: one field is one flag, one environment variable and one row of the documentation."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

from sentiment_conv1d.service.errors import StartupError
from sentiment_conv1d.service.version_policy import VersionPolicy

ENVIRONMENT_PREFIX = "SENTIMENT_"

#: What a user asks for. `auto` takes CUDA where it works and the CPU elsewhere.
ProviderChoice = Literal["auto", "cpu", "cuda"]

#: Rows of one run on a GPU, if nobody says.
BATCH_ROWS = 64

#: The models beside the code. An installed package holds them; in a checkout and in an image this is a link.
_SHIPPED = Path(__file__).parents[1] / "model_repository"

#: A path of literal segments.
_ROUTE = r"^(/[A-Za-z0-9._~:-]+)+$"

#: A star, or origins as browsers write them.
_ORIGINS = r"^(\*|https?://[a-z0-9.:\[\]-]+( *, *https?://[a-z0-9.:\[\]-]+)*)$"


class Settings(BaseModel):
    """A flag wins over the environment, the environment over the default."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    model_repository: Path = Field(
        Path("model_repository") if _SHIPPED.is_symlink() else _SHIPPED,
        description="Folder of the models: <name>/<version>/.",
    )
    default_model: str | None = Field(
        None, description="Model of the routes that name none; needed where the repository holds several."
    )
    versions: str = Field(
        "newest:1",
        description="Versions of a model that are served: newest:N, all or only:A,B; with NAME= in front for one model "
        "apart from the others, as in `newest:2 imdb-cnn=only:3,4`.",
    )
    watch_interval: float = Field(
        2, ge=0, le=3600, description="Seconds between two scans of the model repository; 0: none."
    )
    host: str = Field("0.0.0.0", description="Address to listen on.")  # noqa: S104 - a container must be reachable
    port: int = Field(
        8000,
        ge=0,
        le=65535,
        description="REST port; 0 takes a free one and logs it.",
        json_schema_extra={"variables": ["AIP_HTTP_PORT", "PORT"]},
    )
    uds: Path | None = Field(
        None, description="Path of a Unix domain socket: REST listens there, for its owner and group, and on no port."
    )
    grpc: bool = Field(True, description="Whether to answer gRPC as well.")
    grpc_port: int = Field(8001, ge=0, le=65535, description="gRPC port; 0 takes a free one and logs it.")
    grpc_uds: Path | None = Field(
        None, description="Path of a Unix domain socket: gRPC listens there, for its owner and group, and on no port."
    )
    tls_certificate: Path | None = Field(
        None, description="A PEM file with the server's certificate chain: REST and gRPC speak TLS alone."
    )
    tls_key: Path | None = Field(None, description="A PEM file with the certificate's private key.")
    tls_client_ca: Path | None = Field(
        None, description="A PEM file with authorities: callers must show a certificate signed by one of them."
    )
    cors_origins: str | None = Field(
        None,
        pattern=_ORIGINS,
        description="Origins whose web pages may call the service, with commas between them; `*` for all. None: "
        "only those of its own.",
    )
    predict_route: str | None = Field(
        None,
        pattern=_ROUTE,
        description="One more path for rows under `instances`, as Vertex AI asks for.",
        json_schema_extra={"variables": ["AIP_PREDICT_ROUTE"]},
    )
    health_route: str | None = Field(
        None,
        pattern=_ROUTE,
        description="One more path for readiness, as Vertex AI asks for.",
        json_schema_extra={"variables": ["AIP_HEALTH_ROUTE"]},
    )
    execution_provider: ProviderChoice = Field(
        "auto", description="auto: CUDA where it works, else the CPU. cuda: CUDA or no start. cpu: the CPU."
    )
    device: int = Field(0, ge=0, description="Number of the CUDA device.")
    workers: int = Field(
        0,
        ge=0,
        le=256,
        description="Worker processes; 0: one for every processor a container's limit allows, one in all on a GPU.",
    )
    worker_timeout: float = Field(
        10, ge=3, description="Seconds without a sign of life after which a worker is killed and replaced."
    )
    threads: int = Field(1, ge=1, le=256, description="ONNX Runtime threads inside one run.")
    batching: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Dynamic batching on a thread. auto: on CUDA; elsewhere what arrives at the same moment runs "
        "together, and nothing waits.",
    )
    batching_rows: int = Field(BATCH_ROWS, ge=1, le=1024, description="Texts of one batch, and of one run on CUDA.")
    batching_delay: float = Field(
        0.001, ge=0, le=1, description="Seconds a text may wait for others under load; while the device idles, none."
    )
    api_keys: SecretStr | None = Field(
        None,
        description="Keys, with commas between them; callers must send one as `Authorization: Bearer` or `X-API-Key`. "
        "Better in the environment or a file than on a command line.",
    )
    api_key_file: Path | None = Field(
        None, description="A file with one API key a line; it is read again when it changes."
    )
    admin: Literal["off", "key", "open"] = Field(
        "off",
        description="Who may load and unload models. off: nobody. key: callers with an administration key. open: "
        "everyone who may send requests.",
    )
    admin_keys: SecretStr | None = Field(
        None, description="Administration keys, sent as API keys are, and accepted wherever these are."
    )
    admin_key_file: Path | None = Field(
        None, description="A file with one administration key a line; it is read again when it changes."
    )
    open_health: bool = Field(
        True, description="Whether health routes answer without an API key, and over REST without a client certificate."
    )
    open_metrics: bool = Field(False, description="Whether /metrics does the same.")
    open_page: bool = Field(
        False, description="Whether the page's own files answer without an API key; its requests need one all the same."
    )
    max_body_bytes: int = Field(8 * 1024 * 1024, ge=1, description="Bytes of a request body; more is a 413.")
    max_text_characters: int = Field(1_000_000, ge=1, description="Characters of one text; more is a 413.")
    max_batch_texts: int = Field(1024, ge=1, description="Texts of one request; more is a 413.")
    max_concurrent_requests: int = Field(
        256, ge=1, description="Requests that may wait or run at once in one worker; more is a 429."
    )
    max_pending_texts: int = Field(
        2048, ge=1, description="Texts of these requests, those of small and of large ones apart; more is a 429."
    )
    max_buffered_bytes: int = Field(
        256 * 1024 * 1024,
        ge=1,
        description="Bytes that requests hold in one worker until their answers are written; more is a 429. Over REST "
        "a byte of a body counts as five, for its texts take as much.",
    )
    max_connections: int = Field(
        2048,
        ge=1,
        description="REST connections of one worker. Further ones take the place of idle ones; where there are none, "
        "they get a 503.",
    )
    max_connections_per_address: int = Field(
        0,
        ge=0,
        description="REST connections, and gRPC connections, of one address in one worker; 0: no limit, since callers "
        "behind a proxy share its address. Further ones are rejected.",
    )
    handshake_timeout: float = Field(10, gt=0, description="Seconds a caller may take for a TLS or HTTP/2 handshake.")
    header_timeout: float = Field(10, gt=0, description="Seconds a caller may take to send the head of a request.")
    body_timeout: float = Field(30, gt=0, description="Seconds a caller may take to send a body; more is a 408.")
    write_timeout: float = Field(
        30, gt=0, description="Seconds a caller may take to read an answer before its connection is cut."
    )
    request_timeout: float = Field(30, gt=0, description="Seconds from the whole body to the answer; more is a 504.")
    keep_alive_timeout: int = Field(75, ge=1, description="Seconds an idle connection is kept open.")
    grpc_max_connections: int = Field(1024, ge=1, description="gRPC connections of one worker; more are turned away.")
    grpc_max_streams: int = Field(
        128, ge=1, le=128, description="Calls at once on one gRPC connection; more wait or are refused."
    )
    grpc_idle_timeout: float = Field(300, gt=0, description="Seconds a gRPC connection without a call is kept open.")
    grpc_max_age: float = Field(
        3600,
        gt=0,
        description="Seconds, a tenth more or less, after which a gRPC caller is asked to connect anew, which also "
        "spreads callers over new workers; running calls get as long again.",
    )
    drain_delay: float = Field(
        0, ge=0, description="Seconds between SIGTERM, when /readyz turns 503, and the end of listening."
    )
    shutdown_timeout: int = Field(25, ge=0, description="Seconds that running requests get to finish on SIGTERM.")
    log_format: Literal["console", "json"] = Field("console", description="Log lines for people or for machines.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")
    access_log: bool = Field(False, description="One log line for every request; failures are logged in any case.")
    tracing: bool = Field(
        False,
        description="Send OpenTelemetry traces; the standard `OTEL_` variables say where to and how many. Needs the "
        "`tracing` extra.",
    )

    @field_validator("versions")
    @classmethod
    def _is_policy(cls, text: str) -> str:
        VersionPolicy(text)
        return text

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key go together")
        if self.tls_client_ca is not None and self.tls_certificate is None:
            raise ValueError("tls_client_ca needs tls_certificate and tls_key: without TLS nobody shows a certificate")
        if (self.admin == "key") != (self.admin_keys is not None or self.admin_key_file is not None):
            raise ValueError("admin=key and admin_keys or admin_key_file go together")
        if self.max_pending_texts < self.max_batch_texts:
            raise ValueError("max_pending_texts must not be below max_batch_texts: such a batch could never run")
        return self


def flag(name: str) -> str:
    """The command line flag of a setting."""
    return "--" + name.replace("_", "-")


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return ENVIRONMENT_PREFIX + name.upper()


def variables(name: str) -> tuple[str, ...]:
    """All environment variables of a setting: ours, then those that clouds set, the first that is set wins."""
    extra = Settings.model_fields[name].json_schema_extra
    others = extra.get("variables", ()) if isinstance(extra, dict) else ()
    assert isinstance(others, list | tuple)
    return (variable(name), *map(str, others))


def add_flags(parser: argparse.ArgumentParser, names: tuple[str, ...] = tuple(Settings.model_fields)) -> None:
    """Add the flags of settings; a flag that is not given stays None, so that the environment can speak."""
    for name in names:
        field = Settings.model_fields[name]
        boolean = {"action": argparse.BooleanOptionalAction} if field.annotation is bool else {"metavar": "VALUE"}
        parser.add_argument(
            flag(name),
            default=None,
            help=f"{field.description} [{variable(name)}, default: {_shown(field.default)}]",
            **boolean,
        )


def read_settings(flags: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> Settings:
    """Settings from parsed flags and the environment.

    Raises `StartupError`, which names the flag or the variable at fault; a variable with our prefix that is no
    setting is a slip of the pen and refused as well.
    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    known = {variable(name) for name in Settings.model_fields}
    for key in environment:
        if key.startswith(ENVIRONMENT_PREFIX) and key not in known:
            raise StartupError(f"{key} is no setting; the settings are in docs/settings.md and in --help")
    for name in Settings.model_fields:
        given = [(environment[key], key) for key in variables(name) if environment.get(key)]
        if flags.get(name) is not None:
            given.insert(0, (flags[name], flag(name)))
        if given:
            values[name], origins[name] = given[0]
    try:
        return Settings(**values)
    except ValidationError as error:
        first = error.errors()[0]
        origin = origins[str(first["loc"][0])] + ": " if first["loc"] else ""
        raise StartupError(f"{origin}{first['msg'].removeprefix('Value error, ')}") from error


def table() -> str:
    """The settings as a Markdown table, which is what docs/settings.md holds."""
    rows = ["| flag | environment variable | default | what it is |", "|---|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = f"`{_shown(field.default)}`"
        names = ", ".join(f"`{each}`" for each in variables(name))
        rows.append(f"| `{flag(name)}` | {names} | {default} | {field.description} |")
    return "\n".join(rows) + "\n"


def _shown(default: object) -> str:
    if default is None:
        return "none"
    return str(default).lower() if isinstance(default, bool) else str(default)

"""Settings: one field is one flag, one environment variable and one row of the documentation."""

import argparse
import re
from pathlib import Path
from typing import Any, get_args

import pytest

from sentiment_conv1d.service.errors import StartupError
from sentiment_conv1d.service.flags import _GROUPS, add_flags, default_of, metavar
from sentiment_conv1d.service.settings import Settings, flag, named, read_settings, variable, variables
from tests.processes import PROJECT


def flags(*arguments: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    add_flags(parser)
    return vars(parser.parse_args(arguments))


def test_defaults() -> None:
    """Without flags and environment, every setting has its default."""
    assert read_settings(flags(), {}) == Settings()


def test_flag_beats_environment_beats_default() -> None:
    """A flag overrides the environment, and the environment overrides the default."""
    environment = {"SENTIMENT_PORT": "9001", "SENTIMENT_THREADS": "2"}
    settings = read_settings(flags("--port", "9002"), environment)
    assert (settings.port, settings.threads, settings.device) == (9002, 2, 0)


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_has_a_flag_and_a_variable(name: str) -> None:
    """The variable of a setting has the effect of its flag."""
    examples = {
        "model_repository": "models",
        "default_model": "tickets",
        "versions": "newest:2 tickets=all",
        "version_labels": "tickets=stable:3",
        "strict": "true",
        "host": "127.0.0.2",
        "execution_provider": "cpu",
        "body_timeout": "2.5",
        "log_format": "json",
        "log_level": "error",
        "access_log": "true",
        "max_pending_texts": "5000",
        "max_body_bytes": "5000",
        "max_buffered_bytes": "50000000",
        "grpc": "false",
        "native_operator": "false",
        "batching": "on",
        "open_health": "false",
        "open_metrics": "true",
        "open_page": "true",
        "tracing": "true",
        "cors_origins": "https://a.example, http://localhost:3000",
        "batching_delay": "0.5",
        "predict_route": "/v1/endpoints/1/deployedModels/2:predict",
        "health_route": "/health/of/mine",
        "admin": "open",
        "request_log_sample": "0.5",
        "request_log_texts": "true",
    }
    value = examples.get(name, "7")
    together = {
        "tls_certificate": {"SENTIMENT_TLS_KEY": "key.pem"},
        "tls_key": {"SENTIMENT_TLS_CERTIFICATE": "certificate.pem"},
        "tls_client_ca": {"SENTIMENT_TLS_CERTIFICATE": "certificate.pem", "SENTIMENT_TLS_KEY": "key.pem"},
        "admin_keys": {"SENTIMENT_ADMIN": "key"},
        "admin_key_file": {"SENTIMENT_ADMIN": "key"},
    }.get(name, {})
    switches = {
        "access_log": "--access-log",
        "strict": "--strict",
        "grpc": "--no-grpc",
        "native_operator": "--no-native-operator",
        "open_health": "--no-open-health",
        "open_metrics": "--open-metrics",
        "open_page": "--open-page",
        "request_log_texts": "--request-log-texts",
        "tracing": "--tracing",
    }
    by_flag = flags(switches[name]) if name in switches else flags(flag(name), value)
    settings = read_settings(by_flag, together)
    assert settings == read_settings(flags(), {variable(name): value} | together)
    assert settings != Settings()


def test_boolean_flag() -> None:
    """A flag can turn a switch off again."""
    assert not read_settings(flags("--no-access-log"), {"SENTIMENT_ACCESS_LOG": "1"}).access_log


def test_empty_variable() -> None:
    """An empty variable counts as not set, as compose files write it, if it protects nothing."""
    assert read_settings(flags(), {"SENTIMENT_PORT": "", "SENTIMENT_DEFAULT_MODEL": ""}) == Settings()


def test_unknown_variable() -> None:
    """An unknown variable with the prefix is an error, and other variables are ignored."""
    with pytest.raises(StartupError, match="SENTIMENT_PROT is not a setting"):
        read_settings(flags(), {"SENTIMENT_PROT": "9000"})
    read_settings(flags(), {"PROT": "9000", "sentiment_prot": "9000"})


def test_variables_of_clouds() -> None:
    """The variables of clouds are read, the service's own override them, and an error names the variable."""
    cloud = {"PORT": "8081", "AIP_HTTP_PORT": "8082", "AIP_PREDICT_ROUTE": "/p", "AIP_HEALTH_ROUTE": "/h"}
    settings = read_settings(flags(), cloud)
    assert (settings.port, settings.predict_route, settings.health_route) == (8082, "/p", "/h")
    assert read_settings(flags(), {"PORT": "8081"}).port == 8081
    assert read_settings(flags(), cloud | {"SENTIMENT_PORT": "9000"}).port == 9000
    with pytest.raises(StartupError, match="AIP_PREDICT_ROUTE: "):
        read_settings(flags(), {"AIP_PREDICT_ROUTE": "no/slash"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "eight"),
        ("port", "-1"),
        ("port", "65536"),
        ("threads", "0"),
        ("device", "-1"),
        ("execution_provider", "tpu"),
        ("body_timeout", "0"),
        ("body_timeout", "nan"),
        ("header_timeout", "0"),
        ("max_connections", "0"),
        ("max_body_bytes", "255"),
        ("cors_origins", "example.org"),
        ("cors_origins", "https://example.org/"),
        ("cors_origins", "*, https://example.org"),
        ("drain_delay", "inf"),
        ("drain_delay", "-1"),
        ("log_format", "xml"),
        ("log_level", "loud"),
        ("max_body_bytes", "8MB"),
        ("max_batch_texts", "1.5"),
        ("admin", "yes"),
        ("version_labels", "stable:3"),
        ("request_log", "s3://bucket/log"),
        ("request_log", "http://"),
        ("request_log", "http://sink:port/"),
        ("request_log_sample", "0"),
        ("request_log_sample", "1.5"),
    ],
)
def test_bad_value(name: str, value: str) -> None:
    """An invalid value is refused, and the message names its flag or variable."""
    with pytest.raises(StartupError) as error:
        read_settings(flags(f"{flag(name)}={value}"), {})
    assert str(error.value).startswith(f"{flag(name)}: ")
    with pytest.raises(StartupError) as error:
        read_settings(flags(), {variable(name): value})
    assert str(error.value).startswith(f"{variable(name)}: ")


@pytest.mark.parametrize(
    "name", [each for each, field in Settings.model_fields.items() if field.annotation in (int, float)]
)
def test_range(name: str) -> None:
    """Every number has a range, and the message names the end of the range that a value exceeds."""
    for value in ("1e15", "9" * 400):
        with pytest.raises(StartupError, match=f"^{variable(name)}: .* (less than or equal to|valid integer|finite)"):
            read_settings(flags(), {variable(name): value})
    with pytest.raises(StartupError, match=f"^{variable(name)}: .* greater than"):
        read_settings(flags(), {variable(name): "-1"})


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("drain_delay", "1e9", "Input should be less than or equal to 3600"),
        ("watch_interval", "1e-7", "must be 0, or at least 0.1"),
    ],
)
def test_reason_of_a_range(name: str, value: str, reason: str) -> None:
    """The message about a number that is out of range says what the range is."""
    with pytest.raises(StartupError) as error:
        read_settings(flags(flag(name), value), {})
    assert str(error.value) == f"{flag(name)}: {reason}"
    assert read_settings(flags("--watch-interval", "0"), {}).watch_interval == 0
    assert read_settings(flags("--watch-interval", "0.1"), {}).watch_interval == 0.1


@pytest.mark.parametrize(
    "name",
    [
        *("api_keys", "api_key_file", "admin_keys", "admin_key_file"),
        *("tls_certificate", "tls_key", "tls_client_ca"),
    ],
)
@pytest.mark.parametrize("value", ["", " "])
def test_empty_protection(name: str, value: str) -> None:
    """A key or certificate that is set but empty is refused by name, because it would not protect anything."""
    for origin, given, environment in (
        (variable(name), flags(), {variable(name): value}),
        (flag(name), flags(f"{flag(name)}={value}"), {}),
    ):
        with pytest.raises(StartupError) as error:
            read_settings(given, environment)
        assert str(error.value) == f"{origin}: the value is empty; give one, or leave the setting out"


def test_credentials_in_the_url_of_the_request_log() -> None:
    """A URL with a user name is refused, because the service sends no credentials. The message does not repeat them."""
    with pytest.raises(StartupError, match=r"^--request-log: must not contain a user name") as error:
        read_settings(flags("--request-log", "https://user:secret@sink/"), {})
    assert "secret" not in str(error.value)


def test_url_in_place_of_a_path() -> None:
    """Every file and folder must be on this machine. A URL would become a folder `s3:` in the working directory."""
    names = [name for name, field in Settings.model_fields.items() if Path in get_args(field.annotation)]
    assert "model_cache" in names
    for name in names:
        reason = f"^{variable(name)}: 's3://there' is a URL; a path on this machine is needed$"
        with pytest.raises(StartupError, match=reason):
            read_settings({}, {variable(name): "s3://there"})


@pytest.mark.parametrize("name", ["uds", "model_cache", "request_log"])
def test_empty_path(name: str) -> None:
    """A flag without a path, as after an unset variable of a shell, is not the working directory."""
    with pytest.raises(StartupError, match=f"^{flag(name)}: "):
        read_settings(flags(f"{flag(name)}="), {})


def test_batches_that_could_never_run() -> None:
    """A limit on waiting texts below the limit of one batch is refused with a message."""
    reason = f"{named('max_pending_texts')} must not be below {named('max_batch_texts')}, 1024"
    with pytest.raises(StartupError, match=f"^{re.escape(reason)}$"):
        read_settings(flags("--max-pending-texts", "5"), {})


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (
            ("--max-buffered-bytes", "41953279"),
            "--max-buffered-bytes (SENTIMENT_MAX_BUFFERED_BYTES) must be at least 41953280, for one body of "
            "--max-body-bytes (SENTIMENT_MAX_BODY_BYTES)",
        ),
        (
            ("--port", "9000", "--grpc-port", "9000"),
            "--grpc-port (SENTIMENT_GRPC_PORT) must differ from that of REST",
        ),
        (("--uds", "a", "--grpc-uds", "a"), "--grpc-uds (SENTIMENT_GRPC_UDS) must differ from that of REST"),
        (
            ("--predict-route", "/a", "--health-route", "/a"),
            "--predict-route (SENTIMENT_PREDICT_ROUTE) must differ from --health-route (SENTIMENT_HEALTH_ROUTE), /a",
        ),
    ],
)
def test_settings_that_contradict_each_other(given: tuple[str, ...], reason: str) -> None:
    """Settings with which some requests could never be answered are refused."""
    with pytest.raises(StartupError) as error:
        read_settings(flags(*given), {})
    assert str(error.value) == reason


def test_settings_that_just_fit() -> None:
    """Memory for the largest body, and random or unused ports that are equal, are accepted."""
    read_settings(flags("--max-buffered-bytes", "41953280"), {})
    read_settings(flags("--port", "0", "--grpc-port", "0"), {})
    read_settings(flags("--port", "9000", "--grpc-port", "9000", "--no-grpc"), {})
    read_settings(flags("--port", "9000", "--grpc-port", "9000", "--uds", "a"), {})


@pytest.mark.parametrize(
    "given",
    [
        ("--admin", "key"),
        ("--admin-keys", "x" * 16),
        ("--admin", "open", "--admin-keys", "x" * 16),
        ("--admin", "off", "--admin-key-file", "keys"),
    ],
)
def test_administration_keys_and_admin(given: tuple[str, ...]) -> None:
    """`--admin key` and administration keys need each other."""
    reason = f"{named('admin')} with the value key, and {named('admin_keys')} or {named('admin_key_file')}, go together"
    with pytest.raises(StartupError, match=f"^{re.escape(reason)}$"):
        read_settings(flags(*given), {})


def table() -> str:
    """Return the settings as a Markdown table."""
    rows = ["| flag | default | what it is |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        rows.append(f"| `{flag(name)}` | `{default_of(field)}` | {field.description} |")
    return "\n".join(rows) + "\n"


def test_documentation() -> None:
    """docs/settings.md contains the table of all settings."""
    page = (PROJECT / "docs" / "settings.md").read_text()
    rows = [line for line in page.splitlines(keepends=True) if line.startswith("|")]
    assert "".join(rows) == table()
    assert table() in page


def test_documented_variables() -> None:
    """A setting's variable has the form that docs/settings.md states, and the page names those of other platforms."""
    page = (PROJECT / "docs" / "settings.md").read_text()
    for name in Settings.model_fields:
        own, *others = variables(name)
        assert own == "SENTIMENT_" + flag(name).removeprefix("--").upper().replace("-", "_")
        assert [each for each in others if f"`{each}`" not in page] == []


def test_help(monkeypatch: pytest.MonkeyPatch) -> None:
    """--help lists every flag with its variable and default, in groups."""
    monkeypatch.setenv("COLUMNS", "10000")
    parser = argparse.ArgumentParser(prog="serve")
    add_flags(parser)
    _, *groups = parser.format_help().split("\n\n")
    assert [each.partition(":")[0] for each in groups[1:]] == [*dict.fromkeys(_GROUPS.values())]
    text = " ".join(" ".join(groups).split())
    for name, field in Settings.model_fields.items():
        assert flag(name) in text
        assert field.annotation is bool or metavar(name, field) != "VALUE"
        assert f"[{variable(name)}, default: " in text
        assert " ".join((field.description or "?").split()) in text
    assert Settings().model_repository == "model_repository"

"""The flags of the settings: their groups in the help, and the names of their values."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from sentiment_conv1d.commands.default_repository import FOLDER
from sentiment_conv1d.service.settings import Settings, flag, variable

#: The first setting of each group. The settings up to the next one belong to the same group.
_GROUPS = {
    "model_repository": "models",
    "host": "addresses and TLS",
    "cors_origins": "web pages and clouds",
    "execution_provider": "execution",
    "api_keys": "access",
    "max_body_bytes": "limits",
    "handshake_timeout": "timeouts",
    "grpc_max_connections": "limits of gRPC",
    "drain_delay": "shutdown",
    "log_format": "logs and traces",
    "request_log": "request log",
}

#: The names of values in the help, by the end of the setting's name.
_METAVARS = {
    "model_repository": "FOLDER_OR_URL",
    "model_cache": "FOLDER",
    "default_model": "NAME",
    "versions": "POLICY",
    "version_labels": "LABELS",
    "host": "ADDRESS",
    "port": "PORT",
    "uds": "SOCKET",
    "cors_origins": "ORIGINS",
    "_route": "PATH",
    "device": "NUMBER",
    "_keys": "KEYS",
    "_bytes": "BYTES",
    "_timeout": "SECONDS",
    "_interval": "SECONDS",
    "_delay": "SECONDS",
    "_age": "SECONDS",
    "request_log": "FOLDER_OR_URL",
    "_sample": "SHARE",
}


def add_flags(
    parser: argparse.ArgumentParser,
    names: tuple[str, ...] = tuple(Settings.model_fields),
    also: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Add flags for settings, in groups. A flag that is not given is None, so that the environment applies.

    `also` has second flags, by the name of the setting.
    """
    title = ""
    groups: dict[str, argparse._ArgumentGroup] = {}
    for name, field in Settings.model_fields.items():
        title = _GROUPS.get(name, title)
        if name in names:
            group = groups[title] = groups.get(title) or parser.add_argument_group(title)
            _add_flag(group, [flag(name), *filter(None, [also.get(name)])], name, field)


def _add_flag(group: argparse._ArgumentGroup, flags: Sequence[str], name: str, field: FieldInfo) -> None:
    meaning = f"{field.description} [{variable(name)}, default: {default_of(field)}]".replace("%", "%%")
    if field.annotation is bool:
        group.add_argument(*flags, default=None, help=meaning, action=argparse.BooleanOptionalAction)
    else:
        group.add_argument(*flags, metavar=metavar(name, field), help=meaning)


def metavar(name: str, field: FieldInfo) -> str:
    """Return what the help calls the value of a setting: its choices, its unit or its kind."""
    if get_origin(field.annotation) is Literal:
        return f"{{{','.join(get_args(field.annotation))}}}"
    kinds = [kind for end, kind in _METAVARS.items() if name.endswith(end)]
    if kinds or field.annotation is int:
        return kinds[0] if kinds else "N"
    return "FILE" if Path in (field.annotation, *get_args(field.annotation)) else "VALUE"


def default_of(field: FieldInfo) -> str:
    """Return the default of a setting as the documentation writes it."""
    default = field.default if field.default_factory is None else FOLDER
    if default in (None, ""):
        return "none"
    return str(default).lower() if isinstance(default, bool) else str(default)

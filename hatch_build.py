"""Lets a build fail if a folder of the package is missing. Hatchling would leave it out."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Completeness(BuildHookInterface[Any]):
    """Checks the folders that pyproject.toml includes."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Raise `FileNotFoundError` if one of them does not exist or has no files."""
        for folder in self.build_config.only_include:
            if not any(Path(folder).glob("**/*.*")):
                raise FileNotFoundError(f"{folder}: missing or empty, so the build would be incomplete")

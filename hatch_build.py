"""Lets a build fail if a folder of the package is missing, and compiles the native code if there is a compiler."""

import runpy
import shutil
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_NATIVE = "sentiment_conv1d/native"


class Build(BuildHookInterface[Any]):
    """Checks the folders that pyproject.toml includes, which Hatchling would leave out, and adds the library."""

    _temporary: Path | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Raise `FileNotFoundError` if a folder does not exist or has no files."""
        for folder in self.build_config.only_include:
            if not any(Path(folder).glob("**/*.*")):
                raise FileNotFoundError(f"{folder}: missing or empty, so the build would be incomplete")
        if self.target_name != "wheel":
            return
        compilation = runpy.run_path(f"{_NATIVE}/compilation.py")
        name = compilation["LIBRARY"].name
        folder = Path(_NATIVE if version == "editable" else tempfile.mkdtemp())
        if problem := compilation["compile_library"](folder / name):
            self.app.display_warning(f"The native code is left out: {problem}")
        elif version != "editable":
            self._temporary = folder
            build_data["force_include"][str(folder / name)] = f"{_NATIVE}/{name}"
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the folder of the library, which is now in the wheel."""
        if self._temporary is not None:
            shutil.rmtree(self._temporary)

"""The package's build hook: a wheel contains the client, built, and so does a source distribution.

hatchling calls it. What is built already of the same sources is taken as it is: a wheel made from a source
distribution, or after `make install`, needs no Node. An editable install builds nothing; `make install` does.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ClientHook(BuildHookInterface[Any]):
    """Asks for Node where the machine has none, and builds the client."""

    def dependencies(self) -> list[str]:
        npm = _npm(self.root)
        return [] if npm.is_current() or npm.find() is not None else [npm.REQUIREMENT]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version != "editable":
            _npm(self.root).build()


def _npm(root: str) -> ModuleType:
    """client/npm.py, which is no part of a package."""
    name = "curta_client_npm"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(root) / "client" / "npm.py")
        assert spec is not None and spec.loader is not None
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]

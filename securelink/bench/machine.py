"""On what it was measured."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import ssl
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from typing import Any

from .. import __version__, crypto


def compiled_modules() -> list[str]:
    """The modules of this library that run as machine code, of those that are loaded."""
    return sorted(
        name.removeprefix("securelink.")
        for name, module in tuple(sys.modules.items())
        if name.startswith("securelink.")
        and str(getattr(module, "__file__", None) or "").endswith(tuple(EXTENSION_SUFFIXES))
    )


def cores() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def facts() -> dict[str, Any]:
    """What has a part in the numbers."""
    return {
        "securelink": __version__,
        "compiled": compiled_modules(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "cryptography": importlib.metadata.version("cryptography"),
        "msgspec": importlib.metadata.version("msgspec"),
        "openssl": crypto.openssl_version(),
        "openssl of ssl": ssl.OPENSSL_VERSION,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": cores(),
    }

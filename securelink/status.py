"""
Log lines that a beginner sees without setting up `logging`.

Everything is logged under the name "securelink". If neither that logger nor the root logger has a handler when a
server or client starts, one is added that writes to standard error. A program that configures logging gets nothing
extra; `logging.getLogger("securelink").addHandler(logging.NullHandler())` silences it.
"""

from __future__ import annotations

import logging

log = logging.getLogger("securelink")


def make_visible() -> None:
    """Attach the handler described above, once."""
    if log.handlers or logging.getLogger().handlers:
        return
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("[%(name)s %(levelname)s] %(message)s"))
    log.addHandler(handler)
    if log.level == logging.NOTSET:
        log.setLevel(logging.INFO)

"""Nothing of a handshake happens out of order, and nobody is believed without the proof of this very connection."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys

import pytest
from order_attacks import ATTACKS
from programs import ROOT

from securelink.keys import Identity


@pytest.mark.parametrize("name", ATTACKS)
def test_wrong_order(name: str, identity: Identity) -> None:
    """A step out of order, or by a proof that is not this connection's, raises ConfigError and does nothing."""
    assert ATTACKS[name](identity) == "refused"


def test_the_order_does_not_depend_on_assertions(identity: Identity) -> None:
    """Under `python -O`, which removes every `assert`, all of it is refused just the same."""
    done = subprocess.run(
        [sys.executable, "-O", str(ROOT / "tests/order_attacks.py")],
        env=os.environ | {"PYTHONPATH": str(ROOT)}, input=identity.to_pkcs1_pem(),
        capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    expected = dict.fromkeys(ATTACKS, "refused") | {"asserts": "off"}
    assert json.loads(done.stdout) == expected


def test_the_core_asserts_nothing() -> None:
    """No module below the line has an `assert`: each of them would guard something that `python -O` does not."""
    for file in (ROOT / "securelink/protocol").glob("*.py"):
        tree = ast.parse(file.read_text())
        found = [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assert)]
        assert not found, f"{file.name}: {found}"

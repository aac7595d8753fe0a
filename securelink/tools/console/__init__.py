"""
The operator console: commands for the operator of a server, at its own terminal or from afar.

    commands.py   the commands, text in, text out
    operators.py  attaching to a running server with an authorised key
    prompt.py     lines from a person, with completion and history where there is a terminal
    toolkit.py    editing them by prompt_toolkit
    above.py      the same by readline
    marks.py      people that an operator has banned or silenced
    files.py      files of a person's own
"""

from .commands import Console
from .operators import Attachment, Operators, attach

__all__ = ["Attachment", "Console", "Operators", "attach"]

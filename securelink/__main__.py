"""`python -m securelink` is the command `securelink`."""

from .tools.cli import main

main(prog_name="securelink")

"""`python -m securelink` is the command `securelink`."""

from .cli import main

main(prog_name="securelink")

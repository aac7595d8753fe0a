"""
The names of five small projects that securelink succeeds, over securelink.

A program written for one of them runs after `securelink.compat.` was put before the module in its import lines. It is
then encrypted; see `settings.py` for the two environment variables. New programs use `securelink` itself.
"""

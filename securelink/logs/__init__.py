"""
Log lines.

    default.py     log lines on standard error, if the program does not configure `logging`
    floods.py      bounds of the lines that a peer can cause
    tracebacks.py  exceptions as text, escaped
"""

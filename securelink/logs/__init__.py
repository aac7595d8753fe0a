"""
What is written to the log.

    default.py     lines that a beginner sees without setting up `logging`
    floods.py      how many lines a peer can cause
    tracebacks.py  exceptions as text, escaped
"""

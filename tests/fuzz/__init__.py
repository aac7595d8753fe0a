"""
Fuzzing: harnesses for every parser, and for the engine in every state and role, with a clock.

A harness fails on an exception that is not documented, and on an input that takes too long. The same harnesses run

- with atheris, which looks for new paths through the code: `make fuzz` (FUZZ_SECONDS bounds it), or from this folder's
  parent `python -m fuzz --seconds 60 packets spki`;
- without it, a fixed number of inputs from a fixed seed: `test_fuzz.py`, in each run of the tests.

    targets.py   the harnesses
    seeds.py     inputs to begin with: from the recorded sessions, and made by hand
    mutate.py    the inputs of the run without atheris
    __main__.py  the run with atheris: a process for each harness
    corpus/      inputs that atheris found, a few for each harness; what failed once belongs there too
"""

"""
A short measurement on the user's machine: this library beside a bare socket and beside TLS, doing the same work.

    process.py       the servers, in processes of their own
    target.py        the server that is measured: this library's
    floor.py         servers and clients without any library: bytes, plain or through the module `ssl`
    certificate.py   what TLS needs
    ours.py          clients of this library
    workloads.py     what is measured, the same for all
    run.py           all of it
    results.py       what came out
    machine.py       on what

The absolute numbers mean little; what is beside each other was measured right after each other.
"""

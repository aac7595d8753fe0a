"""
The demonstration: real processes, real sockets, and somebody in the middle who fails.

    main.py               the command: python examples/demo
    game.py, attacks.py   the steps
    cast.py               who takes part
    stage.py, puppet.py   processes: the far and the near end of their orders and reports
    server.py, player.py  the programs of these processes
    wire.py               what somebody in the middle sees
    report.py             steps, checks, what is printed

Nothing is imported here: the processes start faster without what only the first of them needs.
"""

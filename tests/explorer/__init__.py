"""
Two shipped cores, a client's and a server's, driven through everything that a network can do to them within bounds.

    with repeatable():
        found = Explorer(Bounds(dials=2, cuts=1), identity).explore()
    found.broken        # None, or which promise is, and found.way is a shortest way there

    search.py     what the network can do, and the search
    sides.py      the two sides: shells of both roles on the shipped cores
    cloned.py     copies of a side, and what tells two apart
    promises.py   what must hold in each state
    faults.py     faults that the explorer has to find
"""

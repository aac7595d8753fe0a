"""The load side of every workload, once for each style of client: blocking, coroutines, callbacks."""

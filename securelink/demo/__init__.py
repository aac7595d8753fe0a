"""The demonstration: real processes, real sockets, and somebody in the middle who fails."""

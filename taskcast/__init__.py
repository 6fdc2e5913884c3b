"""Taskcast's client side: the contract in `taskcast.v1`, the client and the command line."""

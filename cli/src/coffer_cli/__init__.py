"""kubectl coffer: the command line, a kubectl plugin.

It asks the API server for what the user could have asked for with `kubectl`, and waits for what
comes of it. It decides nothing that the operator should decide, and talks to no agent.
"""

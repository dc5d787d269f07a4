"""kubectl coffer: the command line, a kubectl plugin."""

"""kubectl coffer config: one module for commands that belong together."""

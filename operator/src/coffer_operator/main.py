"""Entry point of the operator process."""

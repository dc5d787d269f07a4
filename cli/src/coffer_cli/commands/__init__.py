"""One module per command; main imports only the one that is asked for."""

"""One module per datastore behind the interface in base; engines never import one another."""

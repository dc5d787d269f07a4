"""The operator's side of the guest API."""

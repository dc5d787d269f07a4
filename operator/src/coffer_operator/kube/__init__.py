"""The one way to the API server: transport, authentication, retries. It decides nothing."""

"""The process: kopf, the keyed queue, webhook, metrics, the Lease of the active operator."""

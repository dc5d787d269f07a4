"""The embedded cluster: a real Kubernetes on one machine, as root, without a container engine."""

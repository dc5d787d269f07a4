"""Pure builders of Kubernetes objects, one module per kind or group of kinds."""

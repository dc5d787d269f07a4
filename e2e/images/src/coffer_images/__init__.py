"""The images of the Dockerfile: built where their inputs changed, and brought to a cluster."""

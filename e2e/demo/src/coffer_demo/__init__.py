"""From a bare machine to a connected client: install, uninstall and the demonstration.

A development tool: it drives the cluster, the images, helm and kubectl as a user would, and has
no way of its own into the operator.
"""

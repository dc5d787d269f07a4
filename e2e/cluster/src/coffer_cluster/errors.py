"""The errors of the embedded cluster. Each message is one line for its reader, with a way out."""


class ClusterError(Exception):
    """Something went wrong; trying again may help."""


class UnsupportedError(ClusterError):
    """This machine, or this request, cannot work; trying again will not help."""


class StuckError(ClusterError):
    """A wait passed its deadline."""

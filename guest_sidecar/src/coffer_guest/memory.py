"""Keeps an idle agent small: one runs beside every database."""

import ctypes
import gc

_libc = ctypes.CDLL(None)
_started = False


def give_back() -> None:
    """Return what was freed to the system; call it now and then, when there is nothing to do.

    Importing and preparing leave megabytes of freed heap behind, which glibc keeps.
    """
    global _started  # noqa: PLW0603 - of the process, as the heap is
    if not _started:
        # what was imported stays: it need not be looked at by every collection
        gc.collect()
        gc.freeze()
        _started = True
    _libc.malloc_trim(0)

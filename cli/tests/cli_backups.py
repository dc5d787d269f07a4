"""Backups as the tests of the command line see them."""

from typing import Any

from cli_objects import (
    BACKUPS,
    INSTANCES,
    Object,
)

ORDERS = f"{INSTANCES}/orders"


SUNDAY = f"{BACKUPS}/sunday"


def running(percent: int, **more: Any) -> Object:
    progress = {
        "bytesDone": percent * 10 * 1024**2,
        "bytesTotal": 1000 * 1024**2,
        "bytesPerSecond": 80 * 1024**2,
    }
    return {"phase": "Running", "message": "it is taken by orders", "progress": progress, **more}

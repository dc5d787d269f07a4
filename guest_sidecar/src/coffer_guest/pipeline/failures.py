"""What can be wrong with a backup that is read, each with the reason a condition shows."""

from coffer_common.errors import Permanent, Transient, UserError


class Missing(Permanent):
    """There is no such object in the store."""


class UploadLost(Transient):
    """The store no longer knows the upload: only a new one helps."""


class ToolFailed(Transient):
    """A child process of the data path ended badly; its last words are in the message."""

    def __init__(self, program: str, ending: str, last_words: str) -> None:
        super().__init__(f"{program} {ending}" + (f": {last_words}" if last_words else ""))
        self.program = program


class Damaged(UserError):
    """What the store holds is not what was written: altered, cut, swapped or replayed."""

    def __init__(self, message: str, reason: str = "BackupDamaged") -> None:
        super().__init__(reason, message)


def incomplete(path: str) -> Damaged:
    return Damaged(f"{path} holds no complete backup: it has no manifest.json", "BackupMissing")


def gone(key: str) -> Damaged:
    return Damaged(f"{key} is missing from the bucket, though its manifest is there")


def wrong_size(key: str, found_bytes: int, wanted_bytes: int) -> Damaged:
    fault = "truncated" if found_bytes < wanted_bytes else "longer than what was written"
    return Damaged(f"{key} is {fault}: {found_bytes} bytes, its manifest says {wanted_bytes}")

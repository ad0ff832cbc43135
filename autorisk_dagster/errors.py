"""What can go wrong, as one tree.

`AutoRiskError` is every failure this project explains itself; the two branches below it say whether
running again can help. Messages name what was read, what was found and the next step.
"""

from __future__ import annotations

import errno
from pathlib import PurePath


class AutoRiskError(Exception):
    """Root of the project's own errors."""


class InputError(AutoRiskError):
    """The input or the setting is wrong: running again without changing it cannot help."""


class VideoError(InputError):
    """A video file that cannot be turned into a correct result.

    Attributes:
        file_name: name of the file, without its folder
        cause: what was found
        fix: what the operator can do about it
    """

    def __init__(self, path: str | PurePath, cause: str, fix: str) -> None:
        self.file_name = PurePath(path).name
        self.cause = cause
        self.fix = fix
        super().__init__(f"{self.file_name}: {cause}. {fix}")


class ProfileError(InputError):
    """A profile with an unknown key, a wrong type or a value out of range."""


class BackendError(AutoRiskError):
    """A detector, reasoner or world model that cannot be built or does not answer."""


class EndpointError(BackendError):
    """A service did not answer, or said that it cannot now: the same request may succeed later."""


class StorageError(AutoRiskError):
    """The disk is full: nothing half-written was left, and the same run goes on once there is room."""

    def __init__(self, path: str | PurePath) -> None:
        super().__init__(f"{path}: no space left to write it. Free space there and run again; what is done is kept")


class BucketError(AutoRiskError):
    """Object storage that refuses what was asked: a bucket, a right or the credentials are missing."""

    def __init__(self, url: str, cause: str, fix: str) -> None:
        super().__init__(f"{url}: {cause}. Next: {fix}")


class BucketUnavailableError(BucketError):
    """Object storage that does not answer now: the same request may succeed later."""


def is_full_disk(error: OSError) -> bool:
    """Whether an operation failed for want of space or quota."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)

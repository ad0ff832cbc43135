"""What object storage says when it fails, in words that name the URL and the next step.

Transient faults (503, throttling, a cut connection, a slow answer) were tried again with back-off before they arrive
here: by botocore (`AWS_MAX_ATTEMPTS`, 5 unless set) and, for bodies cut on the way, by s3fs.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autorisk_dagster.errors import AutoRiskError, BucketError, BucketUnavailableError, StorageError, is_full_disk

_REFUSED = frozenset(
    {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "403", "401"}
)
_CREDENTIALS = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or give the machine a role"


@contextmanager
def explained(url: str, local: Path | None = None) -> Iterator[None]:
    """Turn what s3fs and botocore raise into one of this project's errors; `local` is the file on this disk that is
    written meanwhile.

    Raises:
        BucketError: the storage refuses; running again without changing something cannot help.
        BucketUnavailableError: it did not answer, or not in time.
        StorageError: this disk is full.
        FileNotFoundError: as s3fs raises it, for an object that is not there.
        OSError: as s3fs raises it, for a condition that does not hold (`is_conflict`).
    """

    from aiohttp import ClientError as ConnectionFault
    from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

    try:
        yield
    except AutoRiskError:
        raise
    except (TimeoutError, OSError, BotoCoreError, ClientError, HTTPClientError, ConnectionFault) as error:
        if local is not None and isinstance(error, OSError) and is_full_disk(error):
            raise StorageError(local) from error
        found = _explanation(url, error)
        if found is None:
            raise
        raise found from error


def is_conflict(error: BaseException) -> bool:
    """Whether a conditional write was refused because the object is another one than expected."""
    code, status = _answer(error)
    return code in ("PreconditionFailed", "ConditionalRequestConflict") or status == 412


def _explanation(url: str, error: BaseException) -> BucketError | None:
    from botocore.exceptions import NoCredentialsError, NoRegionError, PartialCredentialsError, ProfileNotFound

    code, status = _answer(error)
    if is_conflict(error):
        return None
    if code == "NoSuchBucket":
        return BucketError(url, "there is no such bucket", "create it, or correct the address (AUTORISK_DATA)")
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return BucketError(url, "there are no credentials", _CREDENTIALS)
    if isinstance(error, ProfileNotFound | NoRegionError):
        return BucketError(url, str(error), "correct AWS_PROFILE or AWS_DEFAULT_REGION")
    if code in _REFUSED or status in (401, 403):
        return BucketError(
            url,
            f"access is refused ({code or status})",
            f"{_CREDENTIALS}, allowed to list, get, put and delete there",
        )
    if isinstance(error, FileNotFoundError):
        return None
    if code is not None and status is not None and status < 500 and code not in ("SlowDown", "RequestTimeout"):
        return BucketError(url, f"the request is refused ({code})", "see the message that this one was raised from")
    if isinstance(error, OSError) and error.errno not in (None, errno.EBUSY, errno.EIO) and code is None:
        return None  # of this machine: it names its own file
    what = f"{code or status}" if code or status else type(error).__name__
    return BucketUnavailableError(
        url,
        f"the storage does not answer as it should ({what}), after several tries",
        "check the service, the network and AWS_ENDPOINT_URL, and run again; what is done is kept",
    )


def _answer(error: BaseException | None) -> tuple[str | None, int | None]:
    """Code and HTTP status of the service's answer behind an error, where there was one."""
    from botocore.exceptions import ClientError

    while error is not None:
        if isinstance(error, ClientError):
            response = error.response
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            return response.get("Error", {}).get("Code"), status
        error = error.__cause__ or error.__context__
    return None, None

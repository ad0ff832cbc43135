"""The media store's files out of a bucket, with range requests; the bytes pass through and are kept nowhere.

Through this server, and not by signed addresses: who may see a clip is decided in one place, and the pages' relative
links work as they do from a folder.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse

from autorisk_dagster.errors import BucketError, InputError

if TYPE_CHECKING:
    from starlette.requests import Request

    from autorisk_dagster.storage.bucket import Bucket

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


async def bucket_file(storage: Bucket, path: str, request: Request) -> Response:
    """An object, or the one range of it that is asked for; several ranges at once get the whole, as HTTP allows.

    Raises:
        HTTPException: 404 where there is no such object, 503 where the bucket cannot be read.
    """
    if request.method not in ("GET", "HEAD"):
        raise HTTPException(status_code=405)
    try:
        facts = await run_in_threadpool(storage.facts, path)
    except InputError as error:
        raise HTTPException(status_code=404) from error
    except BucketError as error:
        raise HTTPException(status_code=503, detail="the media store's bucket cannot be read now") from error
    if facts is None:
        raise HTTPException(status_code=404)
    size = int(facts["size"])
    headers = {"Accept-Ranges": "bytes", "ETag": facts["ETag"], "Content-Length": str(size)}
    if request.headers.get("if-none-match") == facts["ETag"]:
        return Response(status_code=304, headers={"ETag": facts["ETag"]})
    start, stop, status = 0, size, 200
    asked = _RANGE.fullmatch(request.headers.get("range", ""))
    if asked and asked.group(1) + asked.group(2) and request.headers.get("if-range", facts["ETag"]) == facts["ETag"]:
        first, last = asked.groups()
        start = int(first) if first else max(size - int(last), 0)
        stop = min(int(last) + 1, size) if first and last else size
        if start >= min(stop, size):
            return Response(status_code=416, headers={"Content-Range": f"bytes */{size}"})
        status = 206
        headers |= {"Content-Range": f"bytes {start}-{stop - 1}/{size}", "Content-Length": str(stop - start)}
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers)
    return StreamingResponse(storage.chunks(path, start, stop), status, headers=headers)

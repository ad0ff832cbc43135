"""The gesture verifier as an HTTP service: POST /verify and GET /health. Seed 001.

A request that is no valid one is answered with 4xx and the reason. Every valid request is answered with 200 and a
verdict that holds the schema, whatever becomes of the model; where the verdict came from is in the header
`x-verdict-source` (model, reject or stub), because the schema admits no other field.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from autorisk_dagster.verification.contract import RefusedError, check_schema, strict_object
from autorisk_dagster.verification.gesture import REQUEST_SCHEMA, gesture_proposal
from autorisk_dagster.verification.verifier import Verifier

MAX_BODY_BYTES: Final = 8 * 1024 * 1024  # 12 frames of 512 KiB in base64
MAX_CONTEXT_CHARS: Final = 32_768
SOURCE_HEADER: Final = "x-verdict-source"


class _BadRequestError(Exception):
    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def create_app(verifier: Verifier, *, allow_origins: Sequence[str] = ()) -> Starlette:
    """The service around `verifier`.

    Args:
        allow_origins: web pages that may call it from a browser; none by default
    """

    async def verify(request: Request) -> Response:
        try:
            given = _checked(await _body(request))
            frames = [_jpeg(index, text) for index, text in enumerate(given["frames"])]
        except _BadRequestError as error:
            return JSONResponse({"error": str(error)}, error.status)
        except ClientDisconnect:
            return Response(status_code=400)
        verified = await run_in_threadpool(verifier.verify, gesture_proposal(given), frames)
        return JSONResponse(verified.verdict, headers={SOURCE_HEADER: verified.source})

    async def health(_: Request) -> Response:
        return JSONResponse(
            {
                "status": "ok",
                "contract": verifier.contract.name,
                "version": verifier.contract.version,
                "verifier": "stub" if verifier.client is None else "model",
                "model": verifier.model,
            }
        )

    browsers = Middleware(
        CORSMiddleware,
        allow_origins=list(allow_origins),
        allow_methods=["POST"],
        allow_headers=["content-type"],
        expose_headers=[SOURCE_HEADER],
    )
    return Starlette(
        routes=[Route("/verify", verify, methods=["POST"]), Route("/health", health)],
        middleware=[browsers] if allow_origins else [],
    )


async def _body(request: Request) -> bytes:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":  # also keeps pages of other origins from posting without being asked for leave
        raise _BadRequestError(415, "send application/json")
    received = bytearray()
    async for chunk in request.stream():
        received += chunk
        if len(received) > MAX_BODY_BYTES:
            raise _BadRequestError(413, f"the body is over {MAX_BODY_BYTES} bytes")
    return bytes(received)


def _checked(body: bytes) -> Mapping[str, Any]:
    try:
        given = strict_object(body)
    except RefusedError as error:
        raise _BadRequestError(400, f"the body is {error}") from error
    try:
        check_schema(given, REQUEST_SCHEMA)
        sizes = {name: len(json.dumps(given.get(name))) for name in ("landmark_summary", "features")}
    except RefusedError as error:
        raise _BadRequestError(422, f"the request {error}") from error
    except RecursionError as error:
        raise _BadRequestError(422, "the request is nested too deep") from error
    for name, size in sizes.items():
        if size > MAX_CONTEXT_CHARS:
            raise _BadRequestError(422, f"{name} is over {MAX_CONTEXT_CHARS} characters")
    return given


def _jpeg(index: int, text: str) -> bytes:
    try:
        frame = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _BadRequestError(422, f"frame {index} is not base64") from error
    if not (frame.startswith(b"\xff\xd8\xff") and frame.rstrip(b"\0").endswith(b"\xff\xd9")):
        raise _BadRequestError(422, f"frame {index} is no whole JPEG")
    return frame

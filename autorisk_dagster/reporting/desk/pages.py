"""What both desks serve alike: templates with every text escaped, the page's own files, clips with byte ranges."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from autorisk_dagster.errors import AutoRiskError, InputError
from autorisk_dagster.reporting import words

FILES: Final = {
    "report.css": "text/css; charset=utf-8",
    "desk.css": "text/css; charset=utf-8",
    "desk.js": "text/javascript; charset=utf-8",
    "label.js": "text/javascript; charset=utf-8",
    "review.js": "text/javascript; charset=utf-8",
}


@dataclass(frozen=True)
class DeskClip:
    """A clip as a desk serves it. `find` gives its file when it is asked for, `sha256` is what the table says of it."""

    video_id: str
    clip_id: str
    sha256: str
    find: Callable[[], Path]

    @property
    def path(self) -> Path:
        """The file."""
        return self.find()

    def hold(self) -> None:
        """Raise `InputError` where the file is not the one that the table names."""
        try:
            with self.path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise InputError(
                f"{self.clip_id}: its file cannot be read ({error.strerror}). Mine its video again"
            ) from error
        if found != self.sha256:
            raise InputError(f"{self.clip_id}: its file is another one now. Start the server again")


def static_routes() -> list[Route]:
    """The pages' own styles and scripts."""
    return [Route(f"/{name}", _static(name, kind)) for name, kind in FILES.items()]


def page(name: str, request: Request, **values: Any) -> HTMLResponse:
    """A template with everything that a page needs."""
    template = _environment().get_template(name)
    return HTMLResponse(template.render(csrf=request.scope["csrf"], person=request.scope["person"], **values))


def clip_response(path: Path) -> Response:
    """A clip's file, whole or the bytes that are asked for; its name is not told."""
    if not path.is_file():
        raise HTTPException(404, "the clip's file is gone")
    return FileResponse(path, media_type="video/mp4")


async def json_body(request: Request) -> Mapping[str, Any]:
    """The JSON object that a page sent.

    Raises:
        InputError: it is none.
    """
    try:
        given = json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise InputError("the page sent no JSON") from error
    if not isinstance(given, dict):
        raise InputError("the page sent no JSON object")
    return given


async def refused(_: Request, error: Exception) -> Response:
    """An error that the project explains, as the page shows it: what was asked cannot be done as things are."""
    return JSONResponse({"error": str(error)}, 409)


ERRORS: Final[Mapping[Any, Callable[..., Any]]] = {AutoRiskError: refused}


def _static(name: str, kind: str) -> Callable[[Request], Response]:
    content = (resources.files("autorisk_dagster.reporting") / "templates" / name).read_bytes()

    def respond(_: Request) -> Response:
        return Response(content, media_type=kind)

    return respond


@cache
def _environment() -> Environment:
    found = Environment(
        loader=PackageLoader("autorisk_dagster.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {"clock": words.clock, "quantity": words.quantity}
    found.globals["meanings"] = words.SEVERITY_MEANING
    return found

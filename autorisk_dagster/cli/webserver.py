"""Dagster's webserver with the media store under /media and every severity's lineage under /lineage, read-only.

What `autorisk ui` starts.

Files go out with range requests, so that clips can be wound, from the folder or the bucket that data lies in; nothing
outside the media store goes out, by whatever path or link, and nothing whose name begins with a dot.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from autorisk_dagster.cli.bucket_media import bucket_file
from autorisk_dagster.cli.lineage import lineage_of, page_of
from autorisk_dagster.errors import AutoRiskError
from autorisk_dagster.paths import data_root, local_folder
from autorisk_dagster.storage import S3

if TYPE_CHECKING:
    import dagster as dg
    from starlette.responses import Response
    from starlette.routing import BaseRoute
    from starlette.types import Scope

# Said here and not left to the machine's tables, which differ; what is not listed is handed over as bytes.
TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".json": "application/json",
    ".geojson": "application/geo+json",
    ".csv": "text/csv",
    ".md": "text/plain",
    ".txt": "text/plain",
    ".mp4": "video/mp4",
    ".webp": "image/webp",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".zip": "application/zip",
}
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "SAMEORIGIN",
}


class MediaFiles(StaticFiles):
    """The files of the media store in the folder or bucket at `data`. No listing, no dot files, no link out of it."""

    def __init__(self, data: str) -> None:
        super().__init__(directory=f"{data}/media", check_dir=False)
        self.config_checked = True  # before the first video there is no folder: that is no error, there is no file
        self._bucket = None
        if data.startswith(S3):
            from autorisk_dagster.storage.bucket import Bucket

            self._bucket = Bucket(f"{data}/media", local_folder())

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file, or 404 for all there is no file for or that may not go out."""
        if any(part.startswith(".") for part in path.replace("\\", "/").split("/")):
            raise HTTPException(status_code=404)
        try:
            if self._bucket is not None:
                response = await bucket_file(self._bucket, path, Request(scope))
            else:
                response = await super().get_response(path, scope)
        except OSError as error:  # a loop of links, a name the file system cannot hold
            raise HTTPException(status_code=404) from error
        suffix = os.path.splitext(path)[1].lower()  # noqa: PTH122 - of an address
        response.headers["Content-Type"] = TYPES.get(suffix, "application/octet-stream")
        response.headers.update(HEADERS)
        return response


def media_route() -> Mount:
    """The mount of the media store."""
    return Mount("/media", MediaFiles(data_root()), name="media")


def lineage_route(instance: dg.DagsterInstance) -> Route:
    """The page of one clip's lineage, made anew each time it is opened."""

    def page(request: Request) -> Response:  # not async: it reads files, and runs beside the others
        try:
            found = lineage_of(request.path_params["clip_id"], instance)
            return HTMLResponse(page_of(found), headers=HEADERS)
        except AutoRiskError as error:
            return PlainTextResponse(str(error), status_code=404, headers=HEADERS)

    return Route("/lineage/{clip_id}", page, methods=["GET"], name="lineage")


def main() -> None:
    """Dagster's own command line, with a webserver that has the mount."""
    import dagster_webserver.app
    from dagster_webserver.cli import main as dagster_main
    from dagster_webserver.webserver import DagsterWebserver

    class MediaWebserver(DagsterWebserver[Any, Any]):
        def build_routes(self) -> list[BaseRoute]:
            return [media_route(), lineage_route(self._process_context.instance), *super().build_routes()]  # type: ignore[no-untyped-call]

    # The one place where Dagster's command line names its webserver.
    dagster_webserver.app.DagsterWebserver = MediaWebserver  # type: ignore[attr-defined]
    dagster_main()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()

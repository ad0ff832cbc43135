"""Who may use a desk's server: a browser on this machine that was given the session's address, and no other page in it.

- It listens on the loopback address, and answers only to a Host that is loopback (a name that another site points here,
  DNS rebinding, is refused).
- The address printed at the start holds a random token of the session and the person; opening it sets a cookie that
  scripts cannot read and other sites do not send. Without it nothing is answered.
- What writes needs a second token in a header, which only the page knows, and JSON.
- Every answer forbids scripts, styles and media from anywhere but here, framing, and keeping.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CSRF_HEADER: Final = "x-autorisk-token"
LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
HEADERS: Final = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "media-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
MAX_BODY_BYTES: Final = 65_536


class Guard:
    """ASGI middleware. `scope["person"]` is who asks, `scope["csrf"]` the page's token.

    Args:
        people: name by session token (`new_token`)
    """

    def __init__(self, app: ASGIApp, people: Mapping[str, str]) -> None:
        self.app = app
        self.people = dict(people)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)
        if refusal is None:
            response: ASGIApp = self.app
        elif refusal == "enter":
            response = self._entered(scope)
        else:
            response = PlainTextResponse(f"{refusal}\n", 403)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    answer[name] = value
            await send(message)

        await response(scope, receive, with_headers)

    def _refusal(self, scope: Scope, headers: Headers) -> str | None:
        """Why a request is not answered; "enter" where it brings the session's token; None where it is."""
        host = urlsplit(f"//{headers.get('host', '')}")
        if host.hostname not in LOOPBACK:
            return "This server answers to this machine alone."
        if scope["path"] == "/" and b"token=" in scope["query_string"]:
            return "enter" if self._brought(scope) else "This address is of another session. Use the one printed last."
        token = self._known(_cookie(headers, _cookie_name(scope)))
        if token is None:
            return "Open the address that the command printed: it holds the session's token."
        scope["person"], scope["csrf"] = self.people[token], csrf_token(token)
        if scope["method"] in ("GET", "HEAD"):
            return None
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != headers["host"]:
            return "Another page may not write here."
        if not hmac.compare_digest(headers.get(CSRF_HEADER, "").encode(), scope["csrf"].encode()):
            return "The page is of another session. Load it again."
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return "Send application/json."
        if not headers.get("content-length", "").isdecimal() or int(headers["content-length"]) > MAX_BODY_BYTES:
            return f"Say the length of the body; it may have {MAX_BODY_BYTES} bytes."
        return None

    def _brought(self, scope: Scope) -> str | None:
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])
        return self._known(given[0])

    def _known(self, given: str | None) -> str | None:
        said = (given or "").encode("utf-8", "replace")
        return next((token for token in self.people if hmac.compare_digest(token.encode(), said)), None)

    def _entered(self, scope: Scope) -> ASGIApp:
        response = RedirectResponse("/", 303)
        response.set_cookie(_cookie_name(scope), self._brought(scope) or "", httponly=True, samesite="strict", path="/")
        return response


def new_token() -> str:
    """A session token: 256 random bits."""
    return secrets.token_urlsafe(32)


def csrf_token(token: str) -> str:
    """The token that a session's pages send with what they write."""
    return hmac.new(token.encode(), b"autorisk page", hashlib.sha256).hexdigest()


def _cookie_name(scope: Scope) -> str:
    """Cookies do not tell ports apart: two servers at once each need their own."""
    server = scope.get("server") or ("", 0)
    return f"autorisk_{server[1]}"


def _cookie(headers: Headers, name: str) -> str | None:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return None
    return found.value if found else None

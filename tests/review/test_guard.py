"""Who is answered: the browser with the session's address, on this machine, from the desk's own page; no one else."""

from __future__ import annotations

from contextlib import closing

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from autorisk_dagster.reporting.desk.guard import Guard, csrf_token, new_token
from tests.verification.servers import serving

TOKEN = new_token()
OTHER = new_token()


async def answer(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.scope["person"])


@pytest.fixture(scope="module")
def address() -> object:
    app = Starlette(routes=[Route("/", answer, methods=["GET", "POST"])])
    with serving(Guard(app, {TOKEN: "anna", OTHER: "bert"})) as found:
        yield found


def session(address: str, token: str = TOKEN) -> httpx.Client:
    client = httpx.Client(base_url=address, follow_redirects=True)
    client.get(f"/?token={token}")
    return client


GOOD = {"x-autorisk-token": csrf_token(TOKEN), "content-type": "application/json"}


def test_the_session_s_address_lets_its_person_in(address: str) -> None:
    assert session(address).get("/").text == "anna"
    assert session(address, OTHER).get("/").text == "bert"


def test_the_cookie_is_kept_from_scripts_and_other_sites(address: str) -> None:
    found = httpx.get(f"{address}/?token={TOKEN}", follow_redirects=False)
    assert found.status_code == 303 and found.headers["location"] == "/"
    cookie = found.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie


@pytest.mark.parametrize("query", ["", "?token=", f"?token={'x' * 43}", "?token=%ff%00"])
def test_without_the_session_s_token_nothing_is_answered(address: str, query: str) -> None:
    found = httpx.get(f"{address}/{query}")
    assert found.status_code == 403 and "anna" not in found.text


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "192.0.2.1"])
def test_a_name_that_another_site_points_here_is_refused(address: str, host: str) -> None:
    assert session(address).get("/", headers={"host": host}).status_code == 403


@pytest.mark.parametrize(
    "change",
    [
        {"x-autorisk-token": ""},
        {"x-autorisk-token": csrf_token(OTHER)},
        {"content-type": "text/plain"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
    ],
    ids=["no token", "another session's token", "a form's type", "another site", "no site", "another port"],
)
def test_what_another_page_could_send_is_not_written(address: str, change: dict[str, str]) -> None:
    with closing(session(address)) as client:
        assert client.post("/", content=b"{}", headers=GOOD).text == "anna"
        assert client.post("/", content=b"{}", headers=GOOD | change).status_code == 403


def test_a_body_without_a_length_or_too_long_is_refused(address: str) -> None:
    with closing(session(address)) as client:
        assert client.post("/", content=iter([b"{}"]), headers=GOOD).status_code == 403
        assert client.post("/", content=b" " * 65_537, headers=GOOD).status_code == 403


def test_every_answer_forbids_what_is_not_its_own(address: str) -> None:
    for found in (session(address).get("/"), httpx.get(address)):
        policy = found.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'") and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert found.headers["x-content-type-options"] == "nosniff"
        assert found.headers["cache-control"] == "no-store"

"""The review desk: a person sees each judged clip with its evidence and says whether the severity holds.

Every verdict is in the chained log before it is acknowledged, bound to the clip and the output that were shown. Several
reviewers work at once, each under the own name; what others said is shown only once one has given a verdict oneself.
Tables are read anew for each page, so that a run that goes on meanwhile is seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from autorisk_dagster.errors import InputError
from autorisk_dagster.reporting.desk.evidence import Fleet, JudgedClip, ttc_png
from autorisk_dagster.reporting.desk.guard import Guard
from autorisk_dagster.reporting.desk.pages import ERRORS, DeskClip, clip_response, json_body, page, static_routes
from autorisk_dagster.reporting.words import NOT_JUDGED, RULE_SET_WORDS, ttc_words
from autorisk_dagster.review.log import ReviewLog
from autorisk_dagster.review.verdicts import Standing, Verdict, standings, verdicts

Row = dict[str, Any]


class ReviewDesk:
    """The work of all reviewers on a fleet.

    Args:
        gather: what there is to review now
        media: the file behind a media store's relative path
        published: called when the log has grown, before that is acknowledged
    """

    def __init__(
        self, gather: Callable[[], Fleet], log: ReviewLog, media: Callable[[str], Path], published: Callable[[], None]
    ) -> None:
        self.gather = gather
        self.log = log
        self.media = media
        self.published = published

    def given(self) -> list[Verdict]:
        """Every verdict in the log; raises where the log was tampered with."""
        return verdicts(self.log.records())

    def standings(self, fleet: Fleet, given: Sequence[Verdict]) -> dict[str, Standing]:
        """What the reviewers say of each clip."""
        return standings(
            given,
            {clip.clip_id: clip.clip_sha256 for clip in fleet.clips},
            {clip.clip_id: clip.output_sha256 for clip in fleet.clips},
        )

    def file(self, clip: JudgedClip) -> DeskClip:
        """The clip's evidence file."""
        find = partial(self.media, clip.view.mined["clip_path"])
        return DeskClip(clip.video_id, clip.clip_id, clip.clip_sha256, find)

    def judge(self, reviewer: str, asked: Mapping[str, Any]) -> Verdict:
        """Append the verdict that a page sent; `change` to the severity that is shown is `confirm`.

        Raises:
            InputError: the clip or its output is another one than the page showed, or the verdict says nothing clear.
        """
        fleet = self.gather()
        clip = fleet.clips[fleet.at(str(asked.get("clip_id")))]
        if (asked.get("clip_sha256"), asked.get("output_sha256")) != (clip.clip_sha256, clip.output_sha256):
            raise InputError("the clip or what was said of it has changed since this page was loaded. Look at it again")
        self.file(clip).hold()
        kind, severity, note = asked.get("verdict"), asked.get("severity"), asked.get("note", "")
        if not isinstance(note, str):
            raise InputError("a note is text")
        if kind == "change" and severity == clip.severity:
            kind, severity = "confirm", None
        return self._append(clip, str(kind), severity, reviewer, note)

    def take_back(self, reviewer: str, clip_id: str) -> None:
        """Append that the reviewer says nothing of a clip any more.

        Raises:
            InputError: there is nothing to take back.
        """
        own = [each for each in self.given() if (each.clip_id, each.reviewer) == (clip_id, reviewer)]
        if not own or own[-1].verdict == "withdraw":
            raise InputError("you have given no verdict on this clip: there is nothing to take back")
        fleet = self.gather()
        clip = fleet.clips[fleet.at(clip_id)]
        self._append(clip, "withdraw", None, reviewer, "")

    def _append(self, clip: JudgedClip, kind: str, severity: str | None, reviewer: str, note: str) -> Verdict:
        verdict = Verdict(
            verdict=kind,
            video_id=clip.video_id,
            clip_id=clip.clip_id,
            clip_sha256=clip.clip_sha256,
            output_sha256=clip.output_sha256,
            shown_severity=clip.severity,
            severity=severity,
            reviewer=reviewer,
            time=datetime.now(UTC),
            note=note,
        )
        self.log.append(verdict.record())
        self.published()
        return verdict


def review_app(desk: ReviewDesk, people: Mapping[str, str]) -> Starlette:
    """The server of a review desk; `people` are the reviewers by session token."""

    async def home(request: Request) -> Response:
        def values() -> Row:
            found = desk.gather()
            states = _states(desk, found, request.scope["person"])
            return {"rows": states, "left_out": found.left_out, "first": _next_open(states, -1)}

        return page("review_queue.html.j2", request, **await run_in_threadpool(values))

    async def clip(request: Request) -> Response:
        def values() -> Row:
            return _clip_values(desk, request.path_params["clip_id"], request.scope["person"])

        return page("review_clip.html.j2", request, **await run_in_threadpool(values))

    def found_clip(request: Request) -> JudgedClip:
        found = desk.gather()
        return found.clips[found.at(request.path_params["clip_id"])]

    async def footage(request: Request) -> Response:
        return clip_response(desk.file(await run_in_threadpool(found_clip, request)).path)

    async def annotated(request: Request) -> Response:
        return clip_response(_annotated(desk, await run_in_threadpool(found_clip, request)))

    async def curve(request: Request) -> Response:
        picture = await run_in_threadpool(lambda: ttc_png(found_clip(request).view))
        if picture is None:
            raise HTTPException(404)
        return Response(picture, media_type="image/png")

    async def judge(request: Request) -> Response:
        asked = await json_body(request)

        def act() -> Row:
            person = request.scope["person"]
            if asked.get("verdict") == "undo":
                desk.take_back(person, str(asked.get("clip_id")))
                return {"next": None, "said": "taken back"}
            said = desk.judge(person, asked)
            found = desk.gather()
            following = _next_open(_states(desk, found, person), found.at(said.clip_id))
            return {"next": following, "said": said.verdict}

        return JSONResponse(await run_in_threadpool(act))

    return Starlette(
        routes=[
            Route("/", home),
            Route("/clips/{clip_id}", clip),
            Route("/clips/{clip_id}/footage", footage),
            Route("/clips/{clip_id}/annotated", annotated),
            Route("/clips/{clip_id}/ttc.png", curve),
            Route("/verdict", judge, methods=["POST"]),
            *static_routes(),
        ],
        middleware=[Middleware(Guard, people=people)],
        exception_handlers=ERRORS,
    )


def _annotated(desk: ReviewDesk, clip: JudgedClip) -> Path:
    return desk.media(f"{clip.video_id}/annotated/{Path(clip.view.mined['clip_path']).name}")


def _states(desk: ReviewDesk, found: Fleet, person: str) -> list[Row]:
    """A row a clip in order: what it is called, and how far this reviewer is with it."""
    standing = desk.standings(found, desk.given())
    return [
        {
            "clip": clip,
            "clip_id": clip.clip_id,
            "severity": clip.severity or NOT_JUDGED,
            "state": _state(standing.get(clip.clip_id), person),
            "must": bool(clip.queued and clip.queued["must_review"]),
        }
        for clip in found.clips
    ]


def _state(standing: Standing | None, person: str) -> str:
    """`open`: no verdict of this reviewer; `stale`: it was given on another clip file or output; `disputed`: another
    reviewer says otherwise; else `reviewed`."""
    if standing is None:
        return "open"
    own = next((each for each in standing.latest if each.reviewer == person), None)
    if own is None:
        return "stale" if standing.stale else "open"
    if standing.clip_changed or person in standing.output_changed:
        return "stale"
    return "disputed" if standing.disputed else "reviewed"


def _next_open(states: Sequence[Mapping[str, Any]], after: int) -> str | None:
    """The next clip this reviewer has to look at, from the beginning again behind the last."""
    order = [*range(after + 1, len(states)), *range(after + 1)]
    return next((states[index]["clip_id"] for index in order if states[index]["state"] in ("open", "stale")), None)


def _clip_values(desk: ReviewDesk, clip_id: str, person: str) -> Row:
    found = desk.gather()
    index = found.at(clip_id)
    clip = found.clips[index]
    standing = desk.standings(found, desk.given()).get(clip_id)
    latest = standing.latest if standing else ()
    own = next((each for each in latest if each.reviewer == person), None)
    ttc = clip.view.ttc
    return {
        "clip": clip,
        "view": clip.view,
        "position": index + 1,
        "total": len(found.clips),
        "previous": found.clips[index - 1].clip_id if index else None,
        "following": found.clips[index + 1].clip_id if index + 1 < len(found.clips) else None,
        "state": _state(standing, person),
        "own": own,
        "own_stale": own is not None and _stale(standing, own),
        "others": [(each, _stale(standing, each)) for each in latest if each.reviewer != person],
        "annotated": _annotated(desk, clip).is_file(),
        "curve": clip.view.has_samples,
        "ttc": ttc_words(ttc["min_ttc_sec"], ttc["min_ttc_low_sec"], ttc["min_ttc_high_sec"]),
        "rule_set_words": RULE_SET_WORDS.get(clip.view.corrected["rule_set"], ""),
        "not_judged": NOT_JUDGED,
    }


def _stale(standing: Standing | None, verdict: Verdict) -> bool:
    return standing is not None and (standing.clip_changed or verdict.reviewer in standing.output_changed)

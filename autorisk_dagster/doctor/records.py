"""What is kept: keys, review log, footage, the inbox, and what failed."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

from autorisk_dagster.doctor.finding import Finding
from autorisk_dagster.errors import BucketError, InputError
from autorisk_dagster.intake.inbox import InboxLedger
from autorisk_dagster.intake.inbox_places import open_inbox
from autorisk_dagster.intake.sources import SourceRecord
from autorisk_dagster.night.failures import Cause
from autorisk_dagster.night.wording import rerun_command
from autorisk_dagster.review.log import review_log

SHOWN = 5  # of many; the rest is counted
DAEMON_SILENT_SEC = 180.0  # it gives a sign every 30 s


def audit_keys(environment: Mapping[str, str]) -> list[Finding]:
    """Packs can be signed: the keys are there, for their owner alone, and open."""
    from autorisk_dagster.audit import keys

    named = environment.get(keys.FOLDER_VARIABLE)
    if not named:
        mend = f"autorisk audit keys FOLDER; export {keys.FOLDER_VARIABLE}=FOLDER"
        return [Finding("audit keys", "warn", f"{keys.FOLDER_VARIABLE} is not set: packs cannot be signed", mend)]
    folder = Path(named)
    if not folder.is_dir():
        return [Finding("audit keys", "broken", f"{folder} is no folder", f"autorisk audit keys {shlex.quote(named)}")]
    found = []
    for path in (folder / keys.SIGNING, folder / keys.C2PA):
        try:
            keys.private_key(path)
        except InputError as error:
            mend = (
                f"chmod 600 {shlex.quote(str(path))}" if path.exists() else "restore it, or make keys in a new folder"
            )
            found.append(Finding("audit keys", "broken", str(error), mend))
    return found or [Finding("audit keys", "ok", f"{folder}: for their owner alone, and they open")]


def review_log_is_whole(data: Path) -> list[Finding]:
    """No verdict was changed, removed or added behind the log's back."""
    log = review_log(data)
    fault = log.verify() if log.path.parent.exists() else None
    if fault is not None:
        mend = "restore the log and its head from a backup; do not edit them"
        return [Finding("review log", "broken", f"{log.path}: {fault.text}", mend)]
    return [Finding("review log", "ok", "whole" if log.path.exists() else "no verdict yet")]


def footage(records: Sequence[SourceRecord], has_report: Callable[[str], bool]) -> list[Finding]:
    """Registered footage lies where it was. Gone after its report: whoever wants it again must bring it back.

    Of footage in a bucket it is told what the inbox saw to be gone; a request a video would take minutes. `has_report`
    is asked of videos whose footage is gone.
    """
    gone = [record for record in records if _is_gone(record)]
    done = {record.video_id for record in gone if has_report(record.video_id)}
    found = []
    for state, some in (
        ("broken", [record for record in gone if record.video_id not in done]),
        ("warn", [record for record in gone if record.video_id in done]),
    ):
        if some:
            when = "before its report was made" if state == "broken" else "after its report was made"
            shown = ", ".join(f"{record.video_id} ({record.path})" for record in some[:SHOWN])
            rest = f" and {len(some) - SHOWN} more" if len(some) > SHOWN else ""
            mend = "put it back, or say where it is now: autorisk ingest PATH"
            found.append(Finding("footage", state, f"gone {when}: {shown}{rest}", mend))  # type: ignore[arg-type]
    return found or [Finding("footage", "ok", f"{len(records)} videos, all where they were")]


def _is_gone(record: SourceRecord) -> bool:
    return record.missing_since is not None if "://" in record.path else not Path(record.path).is_file()


def inbox_folder(environment: Mapping[str, str], ledger: Path) -> list[Finding]:
    """The inbox can be listed; what in it could not be read."""
    named = environment.get("AUTORISK_INBOX")
    if not named:
        return [Finding("inbox", "ok", "AUTORISK_INBOX is not set: footage is registered by hand")]
    try:
        listing = open_inbox(named).look()
    except InputError as error:
        return [Finding("inbox", "broken", str(error), f"mkdir -p {shlex.quote(named)}, or mount it")]
    except BucketError as error:
        return [Finding("inbox", "broken", str(error), "mend it, or correct AUTORISK_INBOX")]
    seen = InboxLedger(ledger).seen() if ledger.exists() else {}
    bad = [f"{path}: {row.problem}" for path, row in sorted(seen.items()) if row.problem and path in listing.files]
    bad += [f"{folder}: cannot be listed" for folder in listing.unlisted] + [
        f"{path}: a link" for path in listing.links
    ]
    found = [Finding("inbox", "warn", text, "mend the file; it is tried again when it changes") for text in bad[:SHOWN]]
    if len(bad) > SHOWN:
        found.append(Finding("inbox", "warn", f"{len(bad) - SHOWN} more"))
    return found or [Finding("inbox", "ok", f"{named}: {len(listing.files)} videos, {len(seen)} seen by the sensor")]


def broken_now(causes: Iterable[Cause], paths: Mapping[str, str], per_video: Collection[str]) -> list[Finding]:
    """What is broken now, `SHOWN` of each cause, with its error and the command that makes it again.

    Args:
        causes: as `night.failures.by_cause` gives them
        paths: where the footage of each video lies
        per_video: the assets of a video
    """
    found = []
    for cause in causes:
        for one in cause.broken[:SHOWN]:
            name = f"video {one.video_id}" if one.video_id else "fleet"
            mend = rerun_command(one, paths.get(one.video_id or ""), per_video)
            found.append(Finding(name, "broken", f"{one.asset}: {one.error}", mend))
        if len(cause.broken) > SHOWN:
            # Not the cause's own words: with its numbers taken out a secret in it would not be known as one.
            text = f"{len(cause.broken) - SHOWN} more, for the same cause as the {SHOWN} before"
            found.append(Finding("failed videos", "broken", text, "see all: autorisk night broken --all"))
    return found or [Finding("failed videos", "ok", "none")]


def automation(
    on: Iterable[str], daemon_silent_sec: float | None, *, has_inbox: bool, start: str = "autorisk ui"
) -> list[Finding]:
    """What runs by itself, and whether something is there to run it.

    Args:
        on: names of the schedules and sensors that are switched on
        daemon_silent_sec: since the daemon's last sign; None: it never gave one
        has_inbox: an inbox is configured
        start: the command that starts the daemon
    """
    running = sorted(on)
    alive = daemon_silent_sec is not None and daemon_silent_sec < DAEMON_SILENT_SEC
    said = "never ran" if daemon_silent_sec is None else f"gave its last sign {daemon_silent_sec:.0f} s ago"
    if running and not alive:
        return [Finding("automation", "broken", f"on: {', '.join(running)}; the daemon {said}", f"start it: {start}")]
    if has_inbox and "inbox" not in running:
        return [
            Finding(
                "automation",
                "warn",
                "AUTORISK_INBOX is set, and the sensor inbox is off",
                "switch it on in the UI under Automation",
            )
        ]
    return [
        Finding(
            "automation", "ok", f"on: {', '.join(running) or 'nothing'}; the daemon {'is alive' if alive else said}"
        )
    ]

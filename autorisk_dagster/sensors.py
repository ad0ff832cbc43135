"""The inbox sensor: new footage in a folder or bucket becomes partitions and runs."""

from __future__ import annotations

import datetime as dt
import os
import time

import dagster as dg

from autorisk_dagster.errors import BucketError, InputError, VideoError
from autorisk_dagster.fleet_history import PROFILE_TAG
from autorisk_dagster.intake.discovery import Action, decide, files_to_read
from autorisk_dagster.intake.inbox import InboxLedger, read_file, registered_of
from autorisk_dagster.intake.inbox_places import Inbox, open_inbox
from autorisk_dagster.intake.sources import SourceLedger, source_ledger
from autorisk_dagster.jobs import process_video
from autorisk_dagster.partitions import videos
from autorisk_dagster.paths import CONFIGS, local_folder
from autorisk_dagster.profile import known_profiles

INBOX_VARIABLE = "AUTORISK_INBOX"
MAX_ACTIONS = 500  # a tick; of them at most `discovery.MAX_READS` are new in the long run


@dg.sensor(
    job=process_video,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description=f"Registers the videos that are copied into the folder or bucket {INBOX_VARIABLE} names, and runs "
    "`process_video` for each once it has settled.",
)
def inbox(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """One look. The cursor is the number of the last thing that was done, so that a killed tick is made up for."""
    named = os.environ.get(INBOX_VARIABLE)
    if not named:
        return dg.SkipReason(
            f"{INBOX_VARIABLE} is not set; it names the folder or s3:// prefix that footage is copied into"
        )
    place = open_inbox(named)
    sources, ledger = source_ledger(), InboxLedger(local_folder() / "inbox" / "seen.sqlite")
    waiting = _look(context, place, sources, ledger)
    if isinstance(waiting, dg.SkipReason):
        return waiting
    done = int(context.cursor or 0)
    due = ledger.actions_after(done, MAX_ACTIONS)
    applied: list[Action] = []
    for _, action in due:
        try:
            _apply(action, place, sources)
        except (InputError, VideoError) as error:  # its record or file was removed by hand: it must not stop the others
            context.log.warning(str(error))
        else:
            applied.append(action)
    new = list(dict.fromkeys(action.video_id for action in applied if action.kind == "new"))
    return dg.SensorResult(
        dynamic_partitions_requests=[videos.build_add_request(new)] if new else [],
        run_requests=[_request(action, sources) for action in applied if action.run],
        cursor=str(due[-1][0] if due else done),
        skip_reason=None if any(action.run for action in applied) else f"nothing new; {waiting} files still to be read",
    )


def _look(
    context: dg.SensorEvaluationContext, place: Inbox, sources: SourceLedger, ledger: InboxLedger
) -> int | dg.SkipReason:
    """Look, decide and remember; return how many files wait to be read."""
    try:
        listing = place.look()
    except (InputError, BucketError) as error:
        return dg.SkipReason(str(error))  # nothing is known to be gone
    now_sec = time.time()
    seen, profiles = ledger.seen(), known_profiles(CONFIGS)
    now, later = files_to_read(listing.files, seen, now_sec)
    readings = {path: read_file(place, path, listing.files[path], seen.get(path), profiles) for path in now}
    registered = registered_of(place, readings, sources)
    outcome = decide(listing.files, seen, readings, registered, now_sec, listing.unlisted)
    for note in outcome.notes:
        context.log.warning(note)
    if listing.unlisted or listing.links:
        context.log.info(f"could not be listed: {listing.unlisted}; links, not followed: {listing.links[:20]}")
    ledger.keep(seen, outcome)
    return len(later)


def _apply(action: Action, place: Inbox, sources: SourceLedger) -> None:
    if action.kind == "missing":
        sources.mark_missing(action.video_id, dt.datetime.now(dt.UTC).isoformat(timespec="seconds"))
    else:
        # What an older version of the project saw has no fingerprint yet.
        content = action.fingerprint or place.fingerprint(action.path)
        sources.place(action.video_id, place.location(action.path), content, action.profile)


def _request(action: Action, sources: SourceLedger) -> dg.RunRequest:
    profile = sources.get(action.video_id).profile
    return dg.RunRequest(
        run_key=f"{action.video_id}/{profile}",
        partition_key=action.video_id,
        tags={"autorisk/source": "inbox", PROFILE_TAG: profile},
    )

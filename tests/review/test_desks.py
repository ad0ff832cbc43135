"""The two servers as processes of their own: blind is blind, nothing acknowledged is lost, late is refused."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import polars as pl
import pytest

from autorisk_dagster import tables
from autorisk_dagster.reporting.desk.labelling import alone
from autorisk_dagster.review.label_sets import read_set
from autorisk_dagster.review.log import review_log
from autorisk_dagster.review.verdicts import verdicts
from tests.review.driven import Session, autorisk, labelling, reviewing
from tests.review.fleet import HOSTILE, clip, make_fleet, predicted, read_table, write_table

CLIPS = 6


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_fleet(tmp_path / "data", CLIPS)


def state(session: Session) -> dict[str, list[dict[str, str | None]]]:
    text = session.get("/").text.partition('id="state">')[2].partition("</script>")[0]
    found: dict[str, list[dict[str, str | None]]] = json.loads(text)
    return found


def test_nothing_served_while_labelling_tells_what_was_predicted(data: Path) -> None:
    with labelling(data) as address:
        session = Session(address)
        page = session.home
        for word in ("example", "-c01", "0.6", "clips/", "The car ahead brakes", "kinematic", "rank"):
            assert word not in page, word
        clips = state(session)["clips"]
        assert [set(each) for each in clips] == [{"key", "severity", "note"}] * CLIPS
        headers = session.get(f"/clip/{clips[0]['key']}").headers
        assert "content-disposition" not in headers
        served = [len(session.get(f"/clip/{each['key']}").content) for each in clips]
        mined = [path.stat().st_size for path in sorted((data / "media").rglob("*.mp4"))]
        assert sorted(served) == sorted(mined)


def test_the_order_is_a_labeller_s_own_and_stays(data: Path) -> None:
    orders = {}
    for turn, name in enumerate(["anna", "bert", "anna"]):
        with labelling(data, name) as address:
            session = Session(address)
            orders[turn] = [session.get(f"/clip/{each['key']}").content for each in state(session)["clips"]]
    assert orders[0] == orders[2]
    assert orders[0] != orders[1] and sorted(orders[0]) == sorted(orders[1])


def test_a_player_can_seek(data: Path) -> None:
    with labelling(data) as address:
        session = Session(address)
        path = f"/clip/{state(session)['clips'][0]['key']}"
        whole = session.get(path)
        part = session.get(path, headers={"range": "bytes=100-199"})
        assert (whole.status_code, part.status_code) == (200, 206)
        assert part.content == whole.content[100:200]
        assert part.headers["content-range"] == f"bytes 100-199/{len(whole.content)}"


def test_a_labelling_server_that_is_killed_has_kept_every_label_and_goes_on_there(data: Path) -> None:
    given = ["HIGH", "NONE", "LOW"]
    with autorisk(data, "label", "--labeller", "anna") as (server, (address,)):
        session = Session(address)
        for each, severity in zip(state(session)["clips"], given, strict=False):
            assert session.tell("/label", {"key": each["key"], "severity": severity, "note": ""}).status_code == 200
        server.kill()
    with labelling(data) as address:
        clips = state(Session(address))["clips"]
        assert [each["severity"] for each in clips] == [*given, None, None, None]


def test_a_label_set_has_one_server(data: Path) -> None:
    with alone(data / "labels" / "anna.csv"), autorisk(data, "label", "--labeller", "anna") as (second, _):
        assert second.wait() == 1


def test_a_clip_that_was_cut_anew_meanwhile_is_not_labelled(data: Path) -> None:
    with labelling(data) as address:
        session = Session(address)
        for path in (data / "media").rglob("*.mp4"):
            path.write_bytes(b"other footage")
        found = session.tell("/label", {"key": state(session)["clips"][0]["key"], "severity": "LOW", "note": ""})
        assert found.status_code == 409 and "another one now" in found.json()["error"]


def test_what_no_page_sends_is_refused_and_nothing_written(data: Path) -> None:
    with labelling(data) as address:
        session = Session(address)
        key = state(session)["clips"][0]["key"]
        for body in (
            [],
            {"severity": "LOW"},
            {"key": "../../x", "severity": "LOW"},
            {"key": [], "severity": "LOW"},
            {"key": key, "severity": "CRITICAL"},
            {"key": key, "severity": []},
            {"key": key, "severity": "LOW", "note": 7},
            {"key": key, "severity": "LOW", "note": "x" * 2001},
        ):
            assert session.tell("/label", body).status_code == 409, body
        assert session.tell("/freeze", {}).status_code == 409
        assert not list((data / "labels").glob("*"))


def page_of(session: Session, number: int) -> dict[str, str]:
    """What a review page sends with a verdict."""
    text = session.get(f"/clips/{clip(number)}").text
    session.csrf = session.token_of(text)
    head = text.partition("<body")[2].partition(">")[0]
    names = {"clip_id": "clip", "clip_sha256": "clip-sha256", "output_sha256": "output-sha256"}
    return {key: head.partition(f'data-{name}="')[2].partition('"')[0] for key, name in names.items()}


def test_two_reviewers_at_once_and_a_killed_server_lose_no_acknowledged_verdict(data: Path) -> None:
    """Two people on two servers send verdicts as fast as they can; one server is killed in the middle of it."""
    acknowledged: dict[str, list[str]] = {"anna": [], "bert": [], "cem": []}

    def work(name: str, address: str, count: int) -> None:
        session = Session(address)
        page = page_of(session, 1 + len(name) % CLIPS)
        for number in range(count):
            try:
                body = page | {"verdict": "not_a_hazard", "severity": None, "note": f"{name} {number}"}
                if session.tell("/verdict", body).status_code == 200:
                    acknowledged[name].append(f"{name} {number}")
            except OSError:
                return
            except Exception as error:  # the server is gone
                assert "disconnect" in repr(error).lower() or "connect" in repr(error).lower(), error
                return

    with (
        autorisk(data, "review", "--reviewer", "anna", "--reviewer", "bert") as (_, (anna, bert)),
        autorisk(data, "review", "--reviewer", "cem") as (killed, (cem,)),
    ):
        workers = [threading.Thread(target=work, args=args) for args in (("anna", anna, 15), ("bert", bert, 15))]
        doomed = threading.Thread(target=work, args=("cem", cem, 100_000))
        for each in (*workers, doomed):
            each.start()
        for each in workers:
            each.join()
        killed.kill()
        doomed.join()
    log = review_log(data)
    assert log.verify() is None
    written = [each.note for each in verdicts(log.records())]
    assert len(acknowledged["anna"]) == len(acknowledged["bert"]) == 15
    assert acknowledged["cem"]
    for name, notes in acknowledged.items():
        own = [note for note in written if note.startswith(name)]
        assert own[: len(notes)] == notes
        assert len(own) <= len(notes) + (name == "cem")  # the killed one may have written one it never told of


def test_a_verdict_on_what_the_page_did_not_show_is_refused(data: Path) -> None:
    with reviewing(data, "anna") as (address,):
        session = Session(address)
        page = page_of(session, 1)
        corrected = read_table(data, "corrected_severities")
        changed = pl.when(pl.col("clip_id") == clip(1)).then(pl.lit("HIGH")).otherwise("severity")
        write_table(data, "corrected_severities", corrected.with_columns(severity=changed.cast(tables.SEVERITY)))
        found = session.tell("/verdict", page | {"verdict": "confirm", "severity": None, "note": ""})
        assert found.status_code == 409 and "changed since this page was loaded" in found.json()["error"]
        assert session.tell("/verdict", page_of(session, 1) | {"verdict": "confirm"}).status_code == 200
    (verdict,) = verdicts(review_log(data).records())
    assert (verdict.label, verdict.reviewer) == ("HIGH", "anna")


def test_states_follow_the_verdicts_of_both_and_what_is_judged(data: Path) -> None:
    with reviewing(data, "anna", "bert") as addresses:
        anna, bert = map(Session, addresses)

        def states(session: Session) -> list[str]:
            rows = session.get("/").text.partition("<tbody>")[2].split("<tr>")[1:]
            by_clip = {row.partition("/clips/")[2].partition('"')[0]: row for row in rows}
            return [by_clip[clip(n)].partition("state state-")[2].partition('"')[0] for n in (1, 2)]

        assert states(anna) == ["open", "open"]
        anna.tell("/verdict", page_of(anna, 1) | {"verdict": "confirm", "note": ""})
        assert (states(anna), states(bert)) == (["reviewed", "open"], ["open", "open"])
        page = bert.get(f"/clips/{clip(1)}").text
        assert "1 other reviewer has" in page and "confirm, LOW" not in page  # not shown before the own verdict
        bert.tell("/verdict", page_of(bert, 1) | {"verdict": "change", "severity": "HIGH", "note": HOSTILE})
        assert (states(anna), states(bert)) == (["disputed", "open"], ["disputed", "open"])
        page = anna.get(f"/clips/{clip(1)}").text
        assert "<strong>bert</strong>: change, HIGH" in page and HOSTILE not in page
        bert.tell("/verdict", {"clip_id": clip(1), "verdict": "undo"})
        assert (states(anna), states(bert)) == (["reviewed", "open"], ["open", "open"])
        reasons = read_table(data, "reason_outputs")
        write_table(data, "reason_outputs", reasons.with_columns(model_id=pl.lit("another")))
        assert states(anna) == ["stale", "open"]
        assert "Stale" in anna.get(f"/clips/{clip(1)}").text


def test_the_order_is_worst_first_and_the_queue_s_where_there_is_one(data: Path) -> None:
    with reviewing(data, "anna") as (address,):
        session = Session(address)

        def order() -> list[str]:
            rows = session.get("/").text.partition("<tbody>")[2].split('<th scope="row"><a href="/clips/')[1:]
            return [row.partition('"')[0][-2:] for row in rows]

        # predicted: clip n has severity n % 4 of NONE, LOW, MEDIUM, HIGH; equal ones by rank, which is the number
        assert order() == ["03", "02", "06", "01", "05", "04"]
        queue = [
            dict.fromkeys(tables.REVIEW_QUEUE)
            | {
                "clip_id": clip(number),
                "clip_sha256": "0" * 64,
                "start_sec": 0.0,
                "end_sec": 1.0,
                "position": place,
                "outcome": "severity",
                "severity_set": ["LOW"],
                "set_calibrated": True,
                "must_review": must,
                "reasons": ["the set holds HIGH"] if must else [],
                "label_value": value,
                "state": "open",
            }
            for place, (number, must, value) in enumerate([(4, True, 2.0), (1, True, 1.0), (2, False, 5.0)], start=1)
        ]
        write_table(data, "review_queue", tables.frame(queue, tables.REVIEW_QUEUE))
        assert order() == ["04", "01", "02", "03", "06", "05"]
        assert "the set holds HIGH" in session.get(f"/clips/{clip(4)}").text


def test_a_log_that_was_tampered_with_is_told_and_not_written_on(data: Path) -> None:
    with reviewing(data, "anna") as (address,):
        session = Session(address)
        for number in (1, 2):
            assert session.tell("/verdict", page_of(session, number) | {"verdict": "dismiss"}).status_code == 200
        path = review_log(data).path
        path.write_bytes(path.read_bytes().replace(b"dismiss", b"confirm", 1))
        found = session.get(f"/clips/{clip(1)}")
        assert found.status_code == 409 and "record 1 was changed" in found.json()["error"]
        assert session.tell("/verdict", {"clip_id": clip(1), "verdict": "undo"}).status_code == 409
    with autorisk(data, "review", "--verify") as (server, _):
        assert server.wait() == 1


def test_a_frozen_set_takes_no_label_and_a_set_is_frozen_by_command_too(data: Path) -> None:
    path = data / "labels" / "anna.csv"
    path.parent.mkdir()
    path.write_text(f"clip,severity\n{clip(1)},{predicted(1)}\n", encoding="utf-8")
    with autorisk(data, "labels", "freeze", "anna") as (server, _):
        assert server.wait() == 0
    assert read_set(path).freezing is not None
    with labelling(data) as address:
        session = Session(address)
        found = session.tell("/label", {"key": state(session)["clips"][0]["key"], "severity": "LOW", "note": ""})
        assert found.status_code == 409 and "frozen" in found.json()["error"]

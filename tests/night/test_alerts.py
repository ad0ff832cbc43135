"""Who is told of what: once a cause, once more in a later night; and that it arrives at real servers."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autorisk_dagster.errors import InputError
from autorisk_dagster.night.alerts import AlertState, Message, decide, deliver
from autorisk_dagster.night.delivery import SMTP_PASSWORD, SMTP_USER, WEBHOOK, channels
from autorisk_dagster.night.failures import Broken, Cause
from autorisk_dagster.night.settings import AlertSettings, EmailSettings
from tests.night.receivers import mail_server, web_server

NOTHING = AlertState({})
NOT_USED = "http://127.0.0.1:1/token-of-the-channel"


def cause(name: str, videos: int = 1, event: int = 5) -> Cause:
    return Cause(
        name,
        tuple(
            Broken(f"v{n}", "tracks", name, f"v{n}: {name}", f"run{n}", 0.0, 1.0, event + n, 1, 1)
            for n in range(videos)
        ),
    )


def subjects(state: AlertState) -> list[str]:
    return [message.subject for message in state.waiting]


def sent(state: AlertState) -> AlertState:
    """The state once everything was taken."""
    return deliver(state, dict.fromkeys(("webhook", "email"), lambda _: None), 1e9)


def test_500_videos_failing_for_one_cause_are_one_message_with_the_count() -> None:
    state = decide(NOTHING, [cause("torn", 500)], "2026-03-01", 600, ["webhook"])
    assert subjects(state) == ["AutoRisk: 500 broken for 1 cause (1 new)"]
    assert "500 broken: torn" in state.waiting[0].text and "and 495 more" in state.waiting[0].text


def test_a_cause_is_told_once_called_to_mind_once_and_then_left() -> None:
    state = NOTHING
    told = []
    for night in ("2026-03-01", "2026-03-01", "2026-03-02", "2026-03-02", "2026-03-03", "2026-03-04"):
        state = decide(state, [cause("torn")], night, 5, ["webhook"])
        told.append([message.subject.partition("(")[2] for message in state.waiting])
        state = sent(state)
    assert told == [["1 new)"], [], ["1 still there)"], [], [], []]


def test_a_cause_that_was_gone_and_is_back_is_new() -> None:
    first = sent(decide(NOTHING, [cause("torn", event=5)], "2026-03-01", 5, ["webhook"]))
    assert subjects(decide(first, [], "2026-03-02", 5, ["webhook"])) == []
    seen_gone = decide(first, [], "2026-03-02", 5, ["webhook"])
    assert "1 new" in subjects(decide(seen_gone, [cause("torn", event=9)], "2026-03-03", 9, ["webhook"]))[0]
    # made well and broken again between two looks: every failure of it is newer than what was told
    assert "1 new" in subjects(decide(first, [cause("torn", event=9)], "2026-03-01", 9, ["webhook"]))[0]


def test_several_causes_are_one_message() -> None:
    state = sent(decide(NOTHING, [cause("torn", 2)], "2026-03-01", 6, ["webhook"]))
    state = decide(state, [cause("torn", 2), cause("disk", 3)], "2026-03-02", 9, ["webhook"])
    assert subjects(state) == ["AutoRisk: 5 broken for 2 causes (1 new, 1 still there)"]


def test_without_a_channel_nothing_counts_as_told() -> None:
    state = decide(NOTHING, [cause("torn")], "2026-03-01", 5, [])
    assert state == NOTHING
    assert len(decide(state, [cause("torn")], "2026-03-01", 5, ["email"]).waiting) == 1


def test_the_state_travels_as_text() -> None:
    state = decide(NOTHING, [cause("torn"), cause("disk")], "2026-03-01", 5, ["webhook", "email"])
    assert AlertState.from_json(state.to_json()) == state
    assert AlertState.from_json(None) == NOTHING


def refuse(_: Message) -> None:
    raise ConnectionError("not now")


def test_a_channel_that_is_down_gets_it_later_and_the_other_one_once() -> None:
    taken: list[Message] = []
    state = decide(NOTHING, [cause("torn")], "2026-03-01", 5, ["webhook", "email"])
    down = {"webhook": refuse, "email": taken.append}
    state = deliver(state, down, 1000.0)
    assert (len(taken), state.waiting[0].channels, state.waiting[0].next_try_sec) == (1, ("webhook",), 1060.0)
    assert deliver(state, down, 1059.0) == state  # not before its time
    state = deliver(state, down, 1060.0)
    assert state.waiting[0].next_try_sec == 1060.0 + 120.0  # twice as long
    state = deliver(state, {"webhook": taken.append, "email": refuse}, 2000.0)
    assert (len(taken), state.waiting) == (2, ())


def test_a_clock_that_is_set_back_holds_no_message_for_longer_than_an_hour() -> None:
    state = deliver(decide(NOTHING, [cause("torn")], "2026-03-01", 5, ["webhook"]), {"webhook": refuse}, 1_000_000.0)
    taken: list[Message] = []
    assert deliver(state, {"webhook": taken.append}, 1_000_000.0 - 86_400).waiting == ()
    assert len(taken) == 1


LOOKS = st.lists(st.tuples(st.integers(1, 4), st.sets(st.sampled_from("abc"))), max_size=8)


@given(LOOKS)
def test_a_cause_that_stays_is_in_two_messages_at_most(looks: list[tuple[int, set[str]]]) -> None:
    state, told = NOTHING, dict.fromkeys("abc", 0)
    for night, names in sorted(looks, key=lambda look: look[0]):
        names = names | {"a"}
        state = decide(state, [cause(name) for name in sorted(names)], f"2026-03-{night:02}", 5, ["webhook"])
        for message in state.waiting:
            for name in told:
                told[name] += f"broken: {name}" in message.text
        state = sent(state)
        assert set(state.told) == names
    assert told["a"] <= 2 and (not looks or told["a"] >= 1)


def test_a_webhook_gets_text_subject_and_key(caplog: pytest.LogCaptureFixture) -> None:
    state = decide(NOTHING, [cause("torn")], "2026-03-01", 5, ["webhook"])
    with web_server() as server, caplog.at_level(logging.DEBUG):
        address = f"http://127.0.0.1:{server.port}/hooks/token-of-the-channel"
        send = channels(AlertSettings(), {WEBHOOK: address})
        server.refuse = 1
        state = deliver(state, send, 0.0)
        assert (server.posts, len(state.waiting)) == ([], 1)
        state = deliver(state, send, 60.0)
    assert state.waiting == ()
    (post,) = server.posts
    assert post["subject"] == "AutoRisk: 1 broken for 1 cause (1 new)" and post["key"]
    assert "tracks of v0: v0: torn" in post["text"]
    assert "token-of-the-channel" not in caplog.text


def test_mail_arrives_with_a_login_on_this_machine() -> None:
    state = decide(NOTHING, [cause("törn")], "2026-03-01", 5, ["email"])
    with mail_server() as server:
        email = EmailSettings(
            host="127.0.0.1", port=server.port, security="none", sender="a@b.example", recipients=("x@y.example",)
        )
        send = channels(AlertSettings(email=email), {SMTP_USER: "fleet", SMTP_PASSWORD: "secret"})
        server.refuse = 1
        state = deliver(state, send, 0.0)
        assert (server.mails, len(state.waiting)) == ([], 1)
        state = deliver(state, send, 60.0)
    assert state.waiting == ()
    (mail,) = server.mails
    assert (mail["To"], mail["Subject"]) == ("x@y.example", "AutoRisk: 1 broken for 1 cause (1 new)")
    assert "törn" in mail.get_content()
    assert server.logins == ["fleet secret"] * 2


@pytest.mark.parametrize("name", ["webhook", "email"])
def test_no_secret_is_in_an_error(name: str, caplog: pytest.LogCaptureFixture) -> None:
    email = EmailSettings(host="127.0.0.1", port=1, security="none", sender="a@b.example", recipients=("x@y.example",))
    send = channels(AlertSettings(email=email), {WEBHOOK: NOT_USED, SMTP_USER: "fleet", SMTP_PASSWORD: "secret-word"})
    with caplog.at_level(logging.DEBUG), pytest.raises(ConnectionError) as caught:
        send[name](Message("key", "subject", "text", (name,)))
    told = f"{caught.value!r} {caught.value.__cause__!r} {caplog.text}"
    assert "token-of-the-channel" not in told and "secret-word" not in told


def test_an_address_that_is_none_is_not_told_either() -> None:
    send = channels(AlertSettings(), {WEBHOOK: "token-of-the-channel"})
    with pytest.raises(ConnectionError) as caught:
        send["webhook"](Message("key", "subject", "text", ("webhook",)))
    assert "token" not in str(caught.value)


def test_a_password_is_not_sent_in_the_clear() -> None:
    email = EmailSettings(host="mail.example", security="none", sender="a@b.example", recipients=("x@y.example",))
    with pytest.raises(InputError, match="starttls"):
        channels(AlertSettings(email=email), {SMTP_USER: "fleet", SMTP_PASSWORD: "secret"})

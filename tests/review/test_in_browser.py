"""Both pages in a real browser, by keyboard: twenty clips labelled, frozen and evaluated; a clip reviewed; nothing
hostile runs, and the pages fit a phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from assets.label_protocol import CHECK
from autorisk_dagster.review.label_sets import freezings, read_set
from autorisk_dagster.review.log import review_log
from autorisk_dagster.review.verdicts import verdicts
from tests.browser import CHROMIUM
from tests.review.driven import Browser, labelling, reviewing
from tests.review.evaluated import check_of, evaluate, report_outputs
from tests.review.fleet import HOSTILE, clip, make_fleet, predicted, read_table, write_table

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: the pages are not used in a browser")

CLIPS = 20
PLAYING = "document.querySelector('video').currentTime > 0.05 && !document.querySelector('video').paused"
DONE = "document.getElementById('done').textContent"
OVERFLOW = "document.documentElement.scrollWidth - innerWidth"
FITS = [(1280, 900), (390, 844)]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    found = Browser(tmp_path_factory.mktemp("browser"))
    yield found
    found.close()


def test_twenty_clips_are_labelled_by_keyboard_frozen_and_evaluated(browser: Browser, tmp_path: Path) -> None:
    data = make_fleet(tmp_path / "data", CLIPS)
    outputs = read_table(data, "reason_outputs")  # clips first: nothing is judged yet
    (data / "tables" / "reason_outputs").rename(tmp_path / "later")
    with labelling(data) as address:
        browser.open(address)
        browser.until(PLAYING)
        assert browser.look("document.querySelector('.notice:not([hidden])')") is None  # no output: no label is late
        for number in range(1, CLIPS + 1):
            shown = browser.look("document.querySelector('video').src")
            browser.press(str(1 + number % 4))
            browser.until(f"{DONE} === '{number} of {CLIPS} labelled'")
            if number < CLIPS:
                browser.until(f"document.querySelector('video').src !== '{shown}'")
        browser.press("u")  # taken back, and given again with a note
        browser.until(f"{DONE} === '{CLIPS - 1} of {CLIPS} labelled'")
        browser.press("n")
        for letter in "4 near":  # a digit in a note is no label
            browser.press(letter)
        browser.press("Escape")
        browser.press("ArrowLeft")  # a note without a label is there again when one comes back
        browser.until("document.getElementById('note').value === ''")
        browser.press("ArrowRight")
        browser.until("document.getElementById('note').value === '4 near'")
        browser.press("4")
        browser.until(f"{DONE} === '{CLIPS} of {CLIPS} labelled'")
        browser.press("ArrowLeft")
        browser.until(f"document.getElementById('position').textContent === 'Clip {CLIPS - 1} of {CLIPS}'")
        for width, height in FITS:
            browser.size(width, height)
            assert browser.look(OVERFLOW) <= 0
        browser.look("document.getElementById('freeze').click()")
        browser.look("document.querySelector('dialog button[value=freeze]').click()")
        browser.until("!document.getElementById('frozen').hidden")
        assert browser.look("[...document.querySelectorAll('.severity')].every((each) => each.disabled)")
        assert browser.problems == []
    found = read_set(data / "labels" / "anna.csv")
    assert found.freezing is not None and found.table.height == CLIPS
    assert freezings(review_log(data).records()) == {"anna": found.freezing}
    # keys 2, 3, 4, 1, 2, ...: five of each; the last, a NONE taken back, became HIGH
    counts = dict(found.table["severity"].value_counts().iter_rows())
    assert counts == {"NONE": 4, "LOW": 5, "MEDIUM": 5, "HIGH": 6}
    assert found.table["note"].drop_nulls().to_list() == ["4 near"]

    with dg.instance_for_test() as instance:
        write_table(data, "reason_outputs", outputs)  # and now inference
        report_outputs(instance, data)
        result, truth = evaluate(instance, data)
    assert result.success and truth.height == CLIPS
    check = check_of(result, CHECK)
    assert check.passed and check.metadata["labels_blind"].value == CLIPS


def test_a_clip_is_reviewed_by_keyboard_and_hostile_words_stay_words(browser: Browser, tmp_path: Path) -> None:
    data = make_fleet(tmp_path / "data", 4, text=HOSTILE)
    with reviewing(data, "anna") as (address,):
        browser.open(address)
        browser.look("document.querySelector('main a').click()")
        browser.until("document.body.dataset.clip")
        assert browser.look("document.body.dataset.clip") == clip(3)  # the worst: 3 % 4 is HIGH
        browser.until(PLAYING)
        browser.until("[...document.images].every((each) => each.complete && each.naturalWidth > 100)")
        assert browser.look("window.hacked ?? null") is None
        assert HOSTILE in browser.look("document.body.textContent")
        for width, height in FITS:
            browser.size(width, height)
            assert browser.look(OVERFLOW) <= 0
        for key, following in (("c", clip(2)), ("4", clip(1)), ("x", clip(4))):
            browser.press(key)
            browser.until(f"document.body.dataset.clip === '{following}'")
            browser.until("document.readyState === 'complete'")
        browser.press("d")
        browser.until("document.title === 'Review: 4 clips'")
        assert "You have reviewed every clip" in browser.look("document.body.textContent")
        assert browser.problems == []
    given = [(each.clip_id, each.verdict, each.label) for each in verdicts(review_log(data).records())]
    assert given == [
        (clip(3), "confirm", predicted(3)),
        (clip(2), "change", "HIGH"),
        (clip(1), "not_a_hazard", "NONE"),
        (clip(4), "dismiss", None),
    ]

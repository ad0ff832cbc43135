"""The report as a file: what is in it, what can never run in it, and that it asks nothing of the network."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest

from autorisk_dagster import tables
from autorisk_dagster.errors import InputError
from autorisk_dagster.profile import Profile, load_profile
from autorisk_dagster.reporting import report
from autorisk_dagster.reporting.report import ReportData, render_report
from tests.reporting.example import reason_row, report_data, track_rows, video_row, without_clips

HOSTILE = """<script>window.hacked = 1</script>"><img src=x onerror="window.hacked = 1">'</script>{{ 7 * 7 }}"""
LOADING = {"src", "href", "poster", "srcset", "data", "action", "formaction", "background", "xlink:href"}
VOID = {"meta", "link", "img", "input", "br", "hr", "source"}


class Page(HTMLParser):
    """Elements of a page, its text, its scripts; complains about tags that do not pair up."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs), ""))
        if tag not in VOID and tag not in {"path", "circle"}:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self._open and self._open[-1] == tag, f"</{tag}> closes {self._open[-3:]}"
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "script":
            attributes, text = self.scripts.pop()
            self.scripts.append((attributes, text + data))
        elif not self._open or self._open[-1] != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="session")
def profile() -> Profile:
    return load_profile("default", Path(__file__).parents[2] / "configs")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, profile: Profile) -> ReportData:
    return report_data(tmp_path_factory.mktemp("report"), profile)


def rendered(data: ReportData, folder: Path) -> Page:
    size = render_report(data, folder / "report.html")
    content = (folder / "report.html").read_bytes()
    assert len(content) == size
    return Page(content.decode())


@pytest.fixture(scope="module")
def page(data: ReportData, tmp_path_factory: pytest.TempPathFactory) -> Page:
    return rendered(data, tmp_path_factory.mktemp("page"))


def test_the_page_is_one_file_and_loads_nothing(page: Page) -> None:
    for tag, attributes in page.elements:
        for name in LOADING & set(attributes):
            assert (attributes[name] or "").startswith(("data:", "#")), f"<{tag} {name}={attributes[name]!r:.80}>"
        assert "url(" not in (attributes.get("style") or "")
        assert not [name for name in attributes if name.startswith("on")], tag
    style = re.search(r"<style>(.*?)</style>", page.rawdata, re.S)
    assert style is None or "url(" not in style[1]
    assert not page.all("iframe") + page.all("object") + page.all("base")


def test_only_the_two_own_scripts_may_run(page: Page) -> None:
    (policy,) = [m["content"] or "" for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    running = [text for attributes, text in page.scripts if attributes.get("type") != "application/json"]
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in running]
    assert len(running) == 2
    script_src = re.search(r"script-src ([^;]*);", policy)
    assert script_src is not None
    assert script_src[1].split() == [f"'sha256-{digest}'" for digest in hashes]
    assert policy.startswith("default-src 'none';")


def test_every_clip_is_there_with_both_videos_byte_for_byte(page: Page, data: ReportData) -> None:
    assert [article["id"] for article in page.all("article")] == ["clip-1", "clip-2"]
    videos = [base64.b64decode((video["src"] or "").split(",", 1)[1]) for video in page.all("video")]
    first, second = data.media["example-c01"], data.media["example-c02"]
    assert first.annotated and first.original and second.original
    assert videos == [first.annotated.read_bytes(), first.original.read_bytes(), second.original.read_bytes()]
    assert all("controls" in video and video["preload"] == "metadata" for video in page.all("video"))


def test_what_a_reader_sees_first(page: Page) -> None:
    overview = page.text.split("Clips, worst first")[0]
    for words in ("example.mp4", "Worst severity MEDIUM", "1 clip could not be judged", "Near misses 1", "1.4 s"):
        assert words in overview, words


def test_a_severity_is_told_with_its_rule_and_what_the_rule_read(page: Page) -> None:
    assert "Reasoner: HIGH → rule R4: MEDIUM" in page.text
    assert "R4: HIGH with TTC ≥ 1.5 s and critical tracks ≤ 2: lower to MEDIUM." in page.text
    assert "The rules read TTC 0.70 s, fused score 0.45, critical tracks 1 (rule set seed)." in page.text


def test_the_reasoner_is_never_mistaken_for_cosmos(page: Page) -> None:
    assert "kinematic reasoner: rules on measured signals, not a Cosmos model" in page.text


def test_a_clip_that_was_not_judged_says_so_and_is_not_none(page: Page) -> None:
    second = page.text.split("Clip 2: ")[1]
    assert "Not judged: the reasoner did not run on this clip" in second
    assert "the server did not answer" in second
    assert "Reasoner: NOT JUDGED → no rule fired: NOT JUDGED" in second
    assert "NONE" not in second.split("Measurements:")[0]
    assert "Lowest time to contact nothing approaches" in second


def test_evidence_is_named_as_such_only_if_its_hash_is_the_recorded_one(page: Page) -> None:
    first, second = page.text.split("Clip 2: ")
    assert "the evidence file, byte for byte" in first
    assert "its SHA-256 is not the one that was recorded" in second
    assert "byte for byte" not in second


def test_shares_of_the_signals_are_weight_times_score(page: Page) -> None:
    # weights 0.3, 0.4, 0.3 and scores 0.5, 0.6, 0.7: 0.15, 0.24 and 0.21 of 0.60
    assert "audio 0.50 25 % motion 0.60 40 % proximity 0.70 35 %" in page.text


def test_near_misses_and_provenance(page: Page) -> None:
    measured = "time to collision 1.2 s, closing at 4.5 m/s"
    assert f"0:02.50 car 3 and person 4 High 0.81 {measured} 0:02.0 to 0:02.8 0.90 and 0.80 1" in page.text
    assert "found 1 event in this video" in page.text  # of version 1.0: counted, not listed
    for words in ("ab" * 32, "Detector nanodet-g", "Dagster run run-1234", "settings hash 0123456789abcdef"):
        assert words in page.text, words


def test_figures_are_json_that_the_browser_can_read(page: Page) -> None:
    figures = [json.loads(text) for attributes, text in page.scripts if attributes.get("type") == "application/json"]
    names = [figure["data-figure"] for figure in page.all("figure")]
    # in clip 2 a car is followed, but nothing approaches: no time to contact to draw
    assert names == ["ttc-1", "tracks-1", "tracks-2", "signals"]
    assert len(figures) == len(names)
    assert all(figure["data"] for figure in figures)


def test_ids_are_unique_and_references_lead_somewhere(page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in page.elements:
        if (attributes.get("href") or "").startswith("#"):
            assert (attributes["href"] or "")[1:] in ids, (tag, attributes)
        if "aria-labelledby" in attributes:
            assert attributes["aria-labelledby"] in ids


def test_accessible_structure(page: Page) -> None:
    assert [name for name, _ in page.elements].count("h1") == 1
    assert page.all("html")[0]["lang"] == "en"
    assert len(page.all("main")) == len(page.all("nav")) == 1
    assert all(column.get("scope") in ("col", "row") for column in page.all("th"))
    assert all("alt" in image for image in page.all("img"))
    assert all(video.get("aria-label") for video in page.all("video"))
    assert all(area.get("aria-label") for area in page.all("div") if area.get("role") == "img")


def test_hostile_text_stays_text(data: ReportData, tmp_path: Path) -> None:
    """In every place that takes text from outside: file name, labels, the model's answer, paths, provenance."""
    hostile_row = reason_row(
        "example-c01",
        "HIGH",
        hazards=[{"type": HOSTILE, "actors": [HOSTILE], "spatial_relation": HOSTILE}],
        causal_reasoning=HOSTILE,
        short_term_prediction=HOSTILE,
        recommended_action=HOSTILE,
        evidence=[HOSTILE],
        model_id=HOSTILE,
        reasoner=HOSTILE,
    )
    unread = reason_row("example-c02", None, outcome="parse_failure", raw_text=HOSTILE, error=HOSTILE)
    attacked = replace(
        data,
        video=video_row(file_name=HOSTILE, audio_codec=HOSTILE),
        tracks=track_rows(label=HOSTILE),
        mined_clips=data.mined_clips.with_columns(clip_path=pl.lit(HOSTILE)),
        clip_ttc=data.clip_ttc.with_columns(min_ttc_label=pl.lit(HOSTILE)),
        near_miss_events=data.near_miss_events.with_columns(actors=pl.lit(HOSTILE), evidence=pl.lit(HOSTILE)),
        reason_outputs=tables.frame([hostile_row, unread], tables.REASON_OUTPUTS),
        provenance={HOSTILE: HOSTILE},
        generated_at=HOSTILE,
    )
    clean, page = rendered(data, tmp_path), rendered(attacked, tmp_path)
    assert "{{ 7 * 7 }}" in page.text
    assert page.text.count("<script>window.hacked = 1</script>") >= 15  # shown as text
    assert len(page.scripts) == len(clean.scripts)
    assert len(page.all("img")) == len(clean.all("img"))
    assert not [attributes for _, attributes in page.elements if "onerror" in attributes]


def test_nothing_found_names_the_thresholds(data: ReportData, tmp_path: Path, profile: Profile) -> None:
    page = rendered(without_clips(data), tmp_path)
    assert "No clip was mined from this video" in page.text
    # example: the highest fused score is 0.6
    least, prominence = profile.mining.min_score, profile.mining.min_prominence
    assert f"The highest fused score was 0.60. A candidate needs a peak of at least {least:.2f}" in page.text
    assert f"stands out by at least {prominence:.2f}" in page.text
    assert "not that the drive was safe" in page.text
    assert not page.all("article") + page.all("video")


def test_a_video_without_any_window(data: ReportData, tmp_path: Path) -> None:
    empty = replace(without_clips(data), scores=data.scores.head(0), frame_signals=data.frame_signals.head(0))
    assert "no window was measured" in rendered(empty, tmp_path).text


def test_media_beyond_the_limit_are_left_out_and_named(
    data: ReportData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The annotated copy of clip 1 comes first; with room for it alone no footage is embedded."""
    annotated = data.media["example-c01"].annotated
    assert annotated is not None
    monkeypatch.setattr(report, "EMBED_LIMIT_BYTES", annotated.stat().st_size)
    page = rendered(data, tmp_path)
    assert len(page.all("video")) == 1
    assert "The footage of 2 clips is not in this page" in page.text
    assert "example/clips/02.mp4" in page.text


def test_a_ranked_clip_that_another_table_lacks_is_an_error(data: ReportData, tmp_path: Path) -> None:
    broken = replace(data, clip_ttc=data.clip_ttc.head(1), mined_clips=data.mined_clips.head(1))
    with pytest.raises(InputError, match="clip example-c02 is ranked, but mined_clips, clip_ttc does not know it"):
        render_report(broken, tmp_path / "report.html")


def test_the_same_data_give_the_same_file(data: ReportData, tmp_path: Path) -> None:
    for name in ("a.html", "b.html"):
        render_report(data, tmp_path / name)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()

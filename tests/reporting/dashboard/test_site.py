"""The site's files: what is in them, how they are named, and what cannot be in them."""

from __future__ import annotations

import json
import math
import re
import tracemalloc
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autorisk_dagster import tables
from autorisk_dagster.reporting.dashboard.pages import PAGES
from autorisk_dagster.reporting.dashboard.pipeline_picture import draw
from autorisk_dagster.reporting.dashboard.search_index import SHARDS, shard_of, words
from autorisk_dagster.reporting.dashboard.site_files import ROOT, to_json
from autorisk_dagster.reporting.dashboard.stemmer import stem
from autorisk_dagster.reporting.dashboard.summaries import VideoSummary, groups_of, rate_of, share_of
from autorisk_dagster.review.verdicts import Verdict, judged_outputs
from tests.reporting.dashboard.fleet import Fleet, thresholds_searched, write_site

HOSTILE = "</script><script>hacked()</script><img src=x onerror=hacked()>\u2028'\"{{7*7}}__proto__"


class Links(HTMLParser):
    """Addresses a page asks for or links to, and the elements that it holds."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.scripts: list[str | None] = []
        self.handlers: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.addresses += [values[name] or "" for name in ("href", "src") if name in values]
        self.handlers += [name for name in values if name.startswith("on")]
        if tag == "script":
            self.scripts.append(values.get("src") or values.get("type"))


def chunk(path: Path) -> Any:
    """The value that a chunk hands over."""
    name, text = re.fullmatch(r'autorisk\("([0-9a-f]{16})",(.*)\);\n', path.read_text("utf-8"), re.DOTALL).groups()
    assert name == path.stem
    return json.loads(text)


def page(folder: Path, name: str) -> str:
    return (folder / ROOT / name).read_text("utf-8")


def index(folder: Path) -> Any:
    name = re.search(r'data-index="(\w+)"', page(folder, "index.html"))[1]
    return chunk(folder / ROOT / "data" / f"{name}.js")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    write_site(Fleet(4, 5), folder)
    return folder


def test_every_clip_is_listed_worst_first(site: Path) -> None:
    clips = index(site)["clips"]
    assert len(clips["id"]) == 20 == len(set(clips["id"]))
    order = {"HIGH": 0, "MEDIUM": 1, "LOW": 2, "NONE": 3, None: 4}
    ranks = [order[severity] for severity in clips["severity"]]
    assert ranks == sorted(ranks) and len(set(ranks)) > 2
    for clip_id, name in zip(clips["id"], clips["chunk"], strict=True):
        assert chunk(site / ROOT / "clips" / f"{name}.js")["id"] == clip_id


def test_the_pages_ask_for_nothing_but_what_was_written_and_the_media(site: Path) -> None:
    for name, _ in PAGES:
        found = Links(page(site, name))
        assert found.handlers == []
        for address in found.addresses:
            assert not re.match(r"(https?:)?//", address), address
            target = address.partition("#")[0]
            if target and not target.startswith(("../../drive-", "data:")):
                assert (site / ROOT / target).is_file(), address
    for file in (site / ROOT / "static").glob("*"):
        if not file.name.startswith("plotly"):
            assert "http" not in file.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")


def test_the_same_fleet_gives_the_same_files(site: Path, tmp_path: Path) -> None:
    write_site(Fleet(4, 5), tmp_path)
    names = sorted(path.relative_to(site) for path in site.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert all((site / name).read_bytes() == (tmp_path / name).read_bytes() for name in names)


def test_hostile_text_stays_text_in_every_file(tmp_path: Path) -> None:
    write_site(Fleet(2, 3, text=HOSTILE), tmp_path)
    for name, _ in PAGES:
        text = page(tmp_path, name)
        assert "hacked()</script>" not in text and "<img src=x" not in text, name
        known = {None, "application/json"} | {s for s in Links(text).scripts if s and s.startswith("static/")}
        assert set(Links(text).scripts) <= known
    for file in [*(tmp_path / ROOT / "data").glob("*.js"), *(tmp_path / ROOT / "clips").glob("*.js")]:
        assert not set("<>&\u2028") & set(file.read_text("utf-8"))
        chunk(file)
    detail = chunk(next((tmp_path / ROOT / "clips").glob("*.js")))
    assert detail["tracks"][0][1] == HOSTILE  # unchanged: it is the page that must show it as text


@given(st.recursive(st.floats() | st.text() | st.none() | st.integers(), lambda one: st.lists(one, max_size=4)))
def test_json_is_strict_and_harmless_in_html(value: Any) -> None:
    def said(one: Any) -> Any:
        if isinstance(one, float) and not math.isfinite(one):
            return None if math.isnan(one) else "inf" if one > 0 else "-inf"
        return [said(each) for each in one] if isinstance(one, list) else one

    text = to_json(value)
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text, parse_constant=pytest.fail) == said(value)


def test_what_was_not_made_is_named_and_never_a_zero(tmp_path: Path) -> None:
    fleet = Fleet(2, 3, without=("corrected_severities", "near_miss_events", "clip_ttc", "tracks", "predict_videos"))
    write_site(fleet, tmp_path)
    clips = index(tmp_path)["clips"]
    assert set(clips["severity"]) == set(clips["misses"]) == set(clips["ttc"]) == {None}
    detail = chunk(next((tmp_path / ROOT / "clips").glob("*.js")))
    assert {"corrected_severities", "near_miss_events", "clip_ttc", "tracks", "predict_videos"} <= set(
        detail["missing"]
    )
    assert detail["tracks"] is detail["ttc"] is detail["verdict"] is detail["predict"] is None
    overview = page(tmp_path, "index.html")
    assert re.search(r"<dt>Near misses</dt><dd><span class=\"muted\">not made", overview)
    for name, asset in (("evaluation", "eval_metrics"), ("signals", "ablation"), ("depth", "calibration")):
        assert f"Materialise <code>{asset}</code>" in page(tmp_path, f"{name}.html")


def test_a_table_of_another_version_is_left_out_and_said(tmp_path: Path) -> None:
    class Older(Fleet):
        def read(self, asset: str, partition: str | None = None) -> pl.DataFrame | None:
            table = super().read(asset, partition)
            return table.drop("min_ttc_sec") if asset == "clip_ttc" and table is not None else table

    written = write_site(Older(1, 2), tmp_path)
    assert written.stale == ("clip_ttc of drive-0000-00000000",)
    assert "clip_ttc of drive-0000-00000000" in page(tmp_path, "index.html")
    assert set(index(tmp_path)["clips"]["ttc"]) == {None}


def test_a_label_counts_for_the_file_that_was_watched(tmp_path: Path) -> None:
    fleet = Fleet(1, 2)
    video = fleet.video_ids[0]
    row = {
        **dict.fromkeys(tables.GROUND_TRUTH),
        "video_id": video,
        "severity": "HIGH",
        "start_sec": 0.0,
        "end_sec": 8.0,
    }
    right, wrong = f"{0:064x}", "f" * 64  # clip 0's file, and no longer clip 1's
    rows = [row | {"clip_id": fleet.clip_id(video, n), "clip_sha256": sha} for n, sha in enumerate((right, wrong))]
    fleet.fleet_wide["ground_truth"] = tables.frame(rows, tables.GROUND_TRUTH)
    write_site(fleet, tmp_path)
    clips = index(tmp_path)["clips"]
    assert dict(zip(clips["id"], clips["label"], strict=True)) == {
        fleet.clip_id(video, 0): "HIGH",
        fleet.clip_id(video, 1): None,
    }


def test_footage_goes_out_only_as_the_profile_allows(tmp_path: Path) -> None:
    """Where faces are hidden, no picture of the frames as they are is linked; where nobody asked, none at all."""
    shown = {}
    for name, fleet in (
        ("open", Fleet(1, 2)),
        ("hidden", Fleet(1, 2, hide=True)),
        ("generated hidden too", Fleet(1, 2, hide=True, generated_hidden_by="road_users")),
        ("hidden by another way", Fleet(1, 2, hide=True, generated_hidden_by="centerface")),
        ("unknown", Fleet(1, 2, without=("shareable_clips",))),
    ):
        write_site(fleet, tmp_path / name)
        files = [
            path.read_text("utf-8") for path in (tmp_path / name / ROOT).rglob("*") if path.suffix in (".js", ".html")
        ]
        text = "".join(file for file in files if len(file) < 1_000_000)  # without Plotly
        folders = ("clips", "shareable", "annotated", "saliency", "predictions", "counterfactuals")
        shown[name] = {folder for folder in folders if f"000/{folder}/" in text}
    assert shown == {
        "open": {"clips", "annotated", "saliency", "predictions", "counterfactuals"},
        "hidden": {"shareable", "annotated"},
        "generated hidden too": {"shareable", "annotated", "predictions", "counterfactuals"},
        "hidden by another way": {"shareable", "annotated"},
        "unknown": set(),
    }


def test_memory_does_not_grow_with_the_clips_details(tmp_path: Path) -> None:
    """Many times the videos: details are written clip by clip; the list and the words are kept."""
    peaks = []
    for videos in (1, 5):
        tracemalloc.start()
        write_site(Fleet(videos, 5, tracks=8, samples=60), tmp_path / str(videos))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    details = sum(path.stat().st_size for path in (tmp_path / "5" / ROOT / "clips").glob("*.js"))
    assert details > 400_000
    assert peaks[1] - peaks[0] < 0.4 * details


def test_a_confusion_matrix_is_drawn_from_the_table_of_figures(tmp_path: Path) -> None:
    row = {**dict.fromkeys(tables.EVAL_METRICS), "label_origin": "label_file", "stage": "corrected", "n": 5}
    cells = {"HIGH -> HIGH": 3.0, "HIGH -> LOW": 1.0, "LOW -> abstained": 1.0}
    rows = [row | {"metric": "confusion", "class": name, "value": value} for name, value in cells.items()]
    rows += [row | {"metric": "accuracy", "value": 0.6, "low": 0.2, "high": 0.9, "interval": "95 %, bootstrap"}]
    rows += [row | {"metric": "macro_f1", "value": None, "note": "one class only"}]
    fleet = Fleet(1, 1, fleet_wide={"eval_metrics": tables.frame(rows, tables.EVAL_METRICS)})
    write_site(fleet, tmp_path)
    text = page(tmp_path, "evaluation.html")
    assert re.search(r'<th scope="row">HIGH</th><td>3</td><td>0</td><td>1</td><td>0</td><td>0</td>', text)
    assert re.search(r'<th scope="row">LOW</th><td>0</td><td>0</td><td>0</td><td>0</td><td>1</td>', text)
    assert "0.6 (0.2 to 0.9)" in text
    assert "cannot be said" in text and "one class only" in text
    assert "Blind labels" in text


def test_words_are_whole_words() -> None:
    assert words("Careful: car-door, CAR#3 naïve_x") == ["careful", "car", "door", "car", "3", "naïve", "x"]
    assert all(0 <= shard_of(stem(word)) < SHARDS for word in words("a über 3 naïve"))


@pytest.mark.parametrize(
    ("word", "stemmed"),
    # Porter 1980, the examples of its steps
    [
        *(("caresses", "caress"), ("ponies", "poni"), ("cats", "cat"), ("feed", "feed"), ("agreed", "agre")),
        *(("plastered", "plaster"), ("bled", "bled"), ("motoring", "motor"), ("sing", "sing"), ("hopping", "hop")),
        *(("falling", "fall"), ("filing", "file"), ("happy", "happi"), ("sky", "sky"), ("relational", "relat")),
        *(("conditional", "condit"), ("electrical", "electr"), ("hopefulness", "hope"), ("adoption", "adopt")),
        *(("controll", "control"), ("rate", "rate"), ("probate", "probat"), ("car", "car"), ("careful", "care")),
    ],
)
def test_stems_are_porters(word: str, stemmed: str) -> None:
    assert stem(word) == stemmed


def test_intervals_hold_their_textbook_values() -> None:
    # Wilson, 8 of 10: centre (8 + 1.96^2/2) / (10 + 1.96^2) = 0.7167, half width 0.2263
    found = share_of(8, 10)
    assert (found.value, found.low, found.high) == pytest.approx((0.8, 0.4902, 0.9433), abs=1e-3)
    # Garwood, 3 events: 0.6187 to 8.7673
    rate = rate_of(3, 2.0)
    assert (rate.value, rate.low, rate.high) == pytest.approx((1.5, 0.3093, 4.3836), abs=1e-3)
    assert rate_of(0, 1.0).high == pytest.approx(3.6889, abs=1e-3)
    assert share_of(0, 0).value is None and rate_of(0, 0.0).value is None


def test_a_video_that_was_not_looked_at_is_in_no_rate() -> None:
    def video(name: str, hours: float, near_misses: int | None) -> VideoSummary:
        return VideoSummary(name, name, "default", 3600 * hours, (), near_misses, None, ())

    (group,) = groups_of([video("a", 1.0, 4), video("b", 9.0, None)], lambda _: "all")
    assert group.near_misses_an_hour.value == 4.0  # 4 in the one hour that was looked at, not in ten
    assert group.hours == 10.0


def test_the_picture_of_the_pipeline_runs_from_left_to_right() -> None:
    picture = draw(Fleet(3, 1).data().pipeline)
    place = {box.node.name: box for box in picture.boxes}
    assert place["source_video"].x < place["mined_clips"].x < place["ground_truth"].x
    assert [place[name].state for name in ("source_video", "mined_clips", "ground_truth")] == ["all", "some", "none"]
    assert len({(box.x, box.y) for box in picture.boxes}) == 3 and len(picture.curves) == 2
    assert draw(()).boxes == []


def _verdict(fleet: Fleet, number: int, **changes: Any) -> Verdict:
    video = fleet.video_ids[0]
    given = {
        "verdict": "change",
        "video_id": video,
        "clip_id": fleet.clip_id(video, number),
        "clip_sha256": f"{number:064x}",
        "output_sha256": "0" * 64,
        "shown_severity": "LOW",
        "severity": "HIGH",
        "reviewer": "Ana",
        "time": datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
    }
    return Verdict(**(given | changes))


def test_a_clips_review_is_of_the_clip_and_the_output_there_are_now(tmp_path: Path) -> None:
    fleet = Fleet(1, 4)
    video = fleet.video_ids[0]
    outputs = judged_outputs(fleet.read("reason_outputs", video), fleet.read("corrected_severities", video))
    given = [
        _verdict(fleet, 0, output_sha256=outputs[fleet.clip_id(video, 0)], note=HOSTILE),
        _verdict(fleet, 1),
        _verdict(fleet, 2, clip_sha256="f" * 64),
        _verdict(fleet, 0, video_id="another", clip_id="another-c00"),
        _verdict(fleet, 1, reviewer="Ben", verdict="not_a_hazard", severity=None),
    ]
    write_site(fleet, tmp_path, verdicts=given)
    clips = index(tmp_path)["clips"]
    name_of = dict(zip(clips["id"], clips["chunk"], strict=True))
    found = [chunk(tmp_path / ROOT / "clips" / f"{name_of[fleet.clip_id(video, n)]}.js")["review"] for n in range(4)]
    assert [one["label"] for one in found] == ["HIGH", None, None, None]
    assert [one["clip_changed"] for one in found] == [False, False, True, False]
    assert [one["disputed"] for one in found] == [False, True, False, False]
    changed = [[each["output_changed"] for each in one["verdicts"]] for one in found]
    assert changed == [[False], [True, True], [True], []]
    assert found[0]["verdicts"][0] | {"note": ""} == {
        "verdict": "change",
        "shown": "LOW",
        "severity": "HIGH",
        "reviewer": "Ana",
        "time": "2026-01-02T03:04+00:00",
        "note": "",
        "output_changed": False,
    }
    assert [one["queue"]["set_calibrated"] for one in found] == [True, False, True, False]
    assert found[0]["queue"]["coverage"] == 0.9 and found[0]["queue"]["reasons"] == ["the set is ambiguous"]


def test_a_queue_of_another_severity_is_not_taken_for_this_one(tmp_path: Path) -> None:
    class Later(Fleet):
        def _review_queue(self, video: str) -> pl.DataFrame:
            other = pl.when(pl.col("severity") == "HIGH").then(pl.lit("LOW")).otherwise(pl.lit("HIGH"))
            return super()._review_queue(video).with_columns(other.cast(tables.SEVERITY).alias("severity"))

    for fleet, made, of_this in ((Later(1, 2), True, False), (Fleet(1, 2), True, True)):
        write_site(fleet, tmp_path / str(of_this))
        for path in (tmp_path / str(of_this) / ROOT / "clips").glob("*.js"):
            review = chunk(path)["review"]
            assert (review["queue_made"], review["queue"]["of_this"]) == (made, of_this)
    write_site(Fleet(1, 1, without=("review_queue",)), tmp_path / "none")
    (path,) = (tmp_path / "none" / ROOT / "clips").glob("*.js")
    assert chunk(path)["review"]["queue_made"] is False and chunk(path)["review"]["queue"] is None


def test_the_stages_of_the_search_say_what_was_not_held_out(tmp_path: Path) -> None:
    fleet = Fleet(1, 1, fleet_wide={"correction_parameters": thresholds_searched()})
    write_site(fleet, tmp_path)
    text = page(tmp_path, "evaluation.html")
    assert "<b>Not adopted</b>: no better" in text
    rows = dict(re.findall(r'<th scope="row">([^<]+)</th><td>([^<]+)</td><td></td><td>30</td>', text))
    assert rows == {
        "commonest label of the other groups": "0.25 (0.125 to 0.375)",
        "searched, group left out": "0.5 (0.25 to 0.75)",
        "searched, on the same clips: NOT HELD OUT": "0.875",
    }
    drawn = json.loads(re.search(r'data-figure="judge-0".*?application/json">(.*?)</script>', text, re.DOTALL)[1])
    assert drawn["data"][0]["x"] == [0.25, 0.5]  # what was not held out is not drawn among what was

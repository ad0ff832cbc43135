"""Which labels count, one a clip, and why the others do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from autorisk_dagster import tables
from autorisk_dagster.review.ground_truth import GroundTruth, collect
from autorisk_dagster.review.label_sets import LabelSet, freeze, freezings, read_set
from autorisk_dagster.review.log import ReviewLog
from autorisk_dagster.review.verdicts import Verdict, standings
from tests.review.example import at, clip, clip_table, sha, verdict


class Desk:
    """Label sets of a folder, frozen minute by minute."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = ReviewLog(folder / "review" / "verdicts.jsonl")
        self.sets: list[LabelSet] = []

    def label(self, name: str, labels: dict[int, str], *, frozen: bool = True, drive: str = "") -> None:
        path = self.folder / f"{name}.csv"
        lines = [f"{clip(number)},{severity},{drive}" for number, severity in labels.items()]
        path.write_text("\n".join(["clip,severity,drive", *lines]), encoding="utf-8")
        if frozen:
            freeze(path, {clip(n): sha(clip(n)) for n in range(1, 10)}, self.log, at(len(self.sets)))
        self.sets.append(read_set(path))

    def collect(self, *reviews: Verdict, gone: tuple[int, ...] = (), changed: tuple[int, ...] = ()) -> GroundTruth:
        clips = clip_table(*(n for n in range(1, 10) if n not in gone), changed=changed)
        standing = standings(reviews, dict(clips.select("clip_id", "clip_sha256").iter_rows()), {})
        found = collect(self.sets, freezings(self.log.records()), standing.values(), clips)
        tables.check(found.table, tables.GROUND_TRUTH)
        return found


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def reasons(found: GroundTruth) -> list[tuple[str, str]]:
    return [(row["clip_id"][-3:], row["reason"]) for row in found.left_out.iter_rows(named=True)]


def test_labels_of_a_frozen_set_count(desk: Desk) -> None:
    desk.label("anna", {1: "LOW", 2: "HIGH"}, drive="monday")
    found = desk.collect()
    assert found.table.select("clip_id", "severity", "origin", "labeller", "drive").rows() == [
        (clip(1), "LOW", "label_file", "anna", "monday"),
        (clip(2), "HIGH", "label_file", "anna", "monday"),
    ]
    assert found.table["frozen_at"].to_list() == [at(0), at(0)]
    assert found.left_out.is_empty()


def test_clips_that_are_gone_or_cut_anew_and_open_sets_do_not_count(desk: Desk) -> None:
    desk.label("anna", {1: "LOW", 2: "HIGH", 3: "NONE"})
    desk.label("bert", {4: "LOW"}, frozen=False)
    found = desk.collect(gone=(1,), changed=(2,))
    assert found.table["clip_id"].to_list() == [clip(3)]
    assert reasons(found) == [
        ("c01", "the clip is gone"),
        ("c02", "the clip is another file now"),
        ("c04", "the label set is not frozen"),
    ]


def test_a_sidecar_dated_back_does_not_count(desk: Desk) -> None:
    desk.label("anna", {1: "LOW"})
    path = desk.folder / "anna.json"
    path.write_text(path.read_text(encoding="utf-8").replace("2026-03-01", "2020-03-01"), encoding="utf-8")
    desk.sets = [read_set(desk.folder / "anna.csv")]
    assert reasons(desk.collect()) == [("c01", "the review log does not hold this freezing")]


def test_labellers_who_agree_make_one_label_of_the_later_freezing(desk: Desk) -> None:
    desk.label("anna", {1: "LOW"})
    desk.label("bert", {1: "LOW"})
    (row,) = desk.collect().table.to_dicts()
    assert (row["labeller"], row["label_set"], row["frozen_at"]) == ("anna, bert", "bert", at(1))


def test_labellers_who_disagree_make_none_until_it_is_settled(desk: Desk) -> None:
    desk.label("anna", {1: "LOW", 2: "LOW"})
    desk.label("bert", {1: "HIGH", 2: "LOW"})
    found = desk.collect()
    assert found.table["clip_id"].to_list() == [clip(2)]
    told = "labellers disagree (anna LOW, bert HIGH); a label set adjudicated settles it"
    assert reasons(found) == [("c01", told)] * 2
    desk.label("adjudicated", {1: "MEDIUM"})
    assert desk.collect().table.select("clip_id", "severity").rows() == [(clip(1), "MEDIUM"), (clip(2), "LOW")]


def test_agreement_is_measured_over_the_clips_that_both_labelled(desk: Desk) -> None:
    desk.label("anna", {1: "NONE", 2: "LOW", 3: "HIGH", 4: "LOW"})
    desk.label("bert", {1: "NONE", 2: "LOW", 3: "MEDIUM", 5: "LOW"})
    (row,) = desk.collect().agreement.to_dicts()
    assert (row["clips"], row["agreement"]) == (3, pytest.approx(2 / 3))
    # Levels (0,1,3) and (0,1,2). Observed squared differences: 0+0+1 = 1 of 3 pairs. By chance, over all 9 pairs:
    # 0,1,4, 1,0,1, 9,4,1 = 21 / 9. Kappa = 1 - (1/3) / (21/9) = 6/7.
    assert row["quadratic_kappa"] == pytest.approx(6 / 7)


def test_reviews_fill_in_where_there_is_no_blind_label_and_say_what_they_saw(desk: Desk) -> None:
    desk.label("anna", {1: "LOW"})
    found = desk.collect(
        verdict(1, "change", severity="HIGH"),
        verdict(2, "not_a_hazard"),
        verdict(3, "dismiss"),
        verdict(4, "confirm"),
        verdict(4, "not_a_hazard", "bert"),
        verdict(5, "confirm", clip_sha256="ff" * 32),
    )
    labels = found.table.select("clip_id", "severity", "origin", "judged_output_sha256").rows()
    assert labels == [(clip(1), "LOW", "label_file", None), (clip(2), "NONE", "review", "ab" * 32)]
    assert reasons(found) == [
        ("c01", "the blind label LOW counts"),
        ("c03", "dismissed: it cannot be judged"),
        ("c04", "reviewers disagree (anna MEDIUM, bert NONE)"),
        ("c04", "reviewers disagree (anna MEDIUM, bert NONE)"),
        ("c05", "the clip is another file now"),
    ]

"""The dataset: which labels count, what is asked, and that no footage is on two sides."""

from __future__ import annotations

import json
import random

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autorisk_dagster import tables
from autorisk_dagster.errors import InputError
from autorisk_dagster.training.dataset import (
    conversations,
    data_hash,
    find_leaks,
    labelled_clips,
    refuse_leaks,
    sft_dataset,
)
from tests.training.labelled import label, mined, sha, truth

SEVERITIES = ("NONE", "LOW", "MEDIUM", "HIGH")


def dataset_of(labels: list[dict[str, object]], folds: int = 5, seed: int = 0) -> pl.DataFrame:
    return sft_dataset(labelled_clips(truth(labels), mined(labels)).clips, folds=folds, seed=seed)


def fleet(videos: int = 10, clips: int = 4) -> list[dict[str, object]]:
    """Each video has one clip of each severity, a minute apart."""
    return [label(f"v{v:02d}", n, SEVERITIES[n % 4]) for v in range(videos) for n in range(clips)]


def test_a_label_counts_only_for_the_file_it_was_given_to() -> None:
    labels = [label("a", n, "LOW") for n in range(4)]
    files = mined(labels).with_columns(
        clip_sha256=pl.when(pl.col("clip_id") == "a-c01").then(pl.lit(sha("another"))).otherwise("clip_sha256")
    )
    labels[2] |= {"severity": None}
    found = labelled_clips(truth(labels), files.filter(pl.col("clip_id") != "a-c03"))
    assert found.clips["clip_id"].to_list() == ["a-c00"]
    assert found.clips["clip_path"].to_list() == ["a/clips/a-c00.mp4"]
    assert found.not_counted.rows() == [
        ("a", "a-c01", "the label was given to another file of this name"),
        ("a", "a-c02", "no severity was given"),
        ("a", "a-c03", "the clip is not there"),
    ]


def test_two_labels_for_one_clip_are_refused_by_name() -> None:
    labels = [label("a", 0, "LOW"), label("a", 0, "HIGH")]
    with pytest.raises(InputError, match="two labels for a-c00"):
        labelled_clips(truth(labels), mined(labels[:1]))


def test_each_severity_answers_three_questions() -> None:
    table = dataset_of(fleet(), folds=5)
    tables.check(table, tables.SFT_DATASET)
    assert table.height == 3 * 40
    answers = {
        severity: dict(table.filter(pl.col("severity") == severity).select("question", "answer").unique().rows())
        for severity in SEVERITIES
    }
    assert answers == {  # seed 000, stage 4c: severity A to D; HIGH or not; MEDIUM or HIGH
        "NONE": {"severity": "A", "high": "B", "evasive": "B"},
        "LOW": {"severity": "B", "high": "B", "evasive": "B"},
        "MEDIUM": {"severity": "C", "high": "B", "evasive": "A"},
        "HIGH": {"severity": "D", "high": "A", "evasive": "A"},
    }


def test_clips_a_minute_apart_can_part_and_every_part_has_every_severity_where_groups_allow() -> None:
    table = dataset_of(fleet(), folds=5).filter(pl.col("question") == "severity")
    counts = {(split, severity): n for split, severity, n in table.group_by("split", "severity").len().iter_rows()}
    # 40 groups of one clip, 10 of each severity, 5 parts: 2 of each in test and validation, 6 in train
    assert counts == {
        (split, severity): n for split, n in (("train", 6), ("validation", 2), ("test", 2)) for severity in SEVERITIES
    }


def test_the_order_of_the_rows_changes_nothing_and_the_seed_does() -> None:
    labels = fleet()
    shuffled = random.Random(3).sample(labels, len(labels))
    assert dataset_of(labels).equals(dataset_of(shuffled))
    assert data_hash(dataset_of(labels)) == data_hash(dataset_of(shuffled))
    assert data_hash(dataset_of(labels)) != data_hash(dataset_of(labels, seed=1))
    changed = [labels[0] | {"severity": "HIGH"}, *labels[1:]]
    assert data_hash(dataset_of(labels)) != data_hash(dataset_of(changed))


def test_too_few_groups_say_what_to_do() -> None:
    with pytest.raises(InputError, match=r"4 labelled clips lie in 1 groups.*lower training\.folds"):
        dataset_of([label("a", n, "LOW", drive="monday") for n in range(4)])


def test_a_file_that_is_in_two_videos_is_one_group() -> None:
    labels = fleet()
    labels[4] |= {"clip_sha256": labels[0]["clip_sha256"]}  # v01's first clip is v00's
    table = dataset_of(labels)
    assert table.filter(pl.col("clip_id").is_in(["v00-c00", "v01-c00"]))["group"].n_unique() == 1
    assert find_leaks(table) == []


@settings(max_examples=40, deadline=None)
@given(
    clips=st.lists(
        st.tuples(
            st.integers(0, 5),  # video
            st.integers(0, 200),  # start
            st.integers(1, 20),  # length
            st.sampled_from([None, None, "d1", "d2"]),
            st.sampled_from(SEVERITIES),
            st.integers(0, 40),  # content: files that are alike happen
        ),
        min_size=6,
        max_size=40,
    ),
    seed=st.integers(0, 3),
)
def test_no_split_ever_leaks(clips: list[tuple[int, int, int, str | None, str, int]], seed: int) -> None:
    labels = [
        label(f"v{v}", n, s, start_sec=float(a), end_sec=float(a + d), drive=drive, clip_sha256=sha(f"file {content}"))
        for n, (v, a, d, drive, s, content) in enumerate(clips)
    ]
    try:
        table = dataset_of(labels, folds=3, seed=seed)
    except InputError as error:
        assert "lower training.folds" in str(error)
        return
    assert set(table["split"]) == {"train", "validation", "test"}
    assert find_leaks(table) == []
    # by hand, and not by the groups: no two clips of two splits share file, drive or time
    rows = table.filter(pl.col("question") == "high").to_dicts()
    for one in rows:
        for other in rows:
            if one["split"] != other["split"]:
                assert one["clip_sha256"] != other["clip_sha256"]
                assert one["drive"] is None or one["drive"] != other["drive"]
                together = one["start_sec"] < other["end_sec"] and other["start_sec"] < one["end_sec"]
                assert one["video_id"] != other["video_id"] or not together


def planted(table: pl.DataFrame, clip_id: str, **changes: object) -> pl.DataFrame:
    return table.with_columns(
        pl.when(pl.col("clip_id") == clip_id).then(pl.lit(value).cast(table.schema[name])).otherwise(name).alias(name)
        for name, value in changes.items()
    )


@pytest.mark.parametrize(
    ("what", "named"),
    [
        ("group", "one group in"),
        ("file", "one file in"),
        ("time", "one drive or scene in"),
        ("drive", "one drive or scene in"),
    ],
)
def test_a_planted_leak_is_refused(what: str, named: str) -> None:
    table = dataset_of(fleet())
    learned = table.filter(pl.col("split") == "train").row(0, named=True)
    held_out = table.filter((pl.col("split") == "test") & (pl.col("video_id") != learned["video_id"])).row(
        0, named=True
    )
    refuse_leaks(table)
    changes: dict[str, object] = {
        "group": {"group": learned["group"]},
        "file": {"clip_sha256": learned["clip_sha256"]},
        # the same video, half a second later
        "time": {
            "video_id": learned["video_id"],
            "start_sec": learned["start_sec"] + 0.5,
            "end_sec": learned["end_sec"] + 0.5,
        },
        "drive": {"drive": "monday"},
    }[what]  # type: ignore[assignment]
    leaking = planted(table, held_out["clip_id"], **changes)
    if what == "drive":
        leaking = planted(leaking, learned["clip_id"], drive="monday")
    with pytest.raises(InputError, match=named) as refused:
        refuse_leaks(leaking)
    assert held_out["clip_id"] in str(refused.value)


def test_the_file_is_what_llava_reads() -> None:
    table = dataset_of(fleet())
    train = json.loads(json.dumps(conversations(table, "train")))
    assert len(train) == 3 * 24
    first = train[0]
    assert first["video"].endswith(f"{first['id'].rsplit('-', 1)[0]}.mp4")
    asked, said = first["conversations"]
    assert (asked["from"], said["from"]) == ("human", "gpt")
    assert asked["value"].startswith("<video>\n") and said["value"] in "ABCD"
    held_out = {entry["video_sha256"] for entry in conversations(table, "test")}
    assert not held_out & {entry["video_sha256"] for entry in train}

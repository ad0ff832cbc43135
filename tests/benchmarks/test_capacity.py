"""The arithmetic of docs/capacity.md, on numbers small enough to do by hand, and the page as it is written now."""

from __future__ import annotations

import pytest

from tests.benchmarks.scale.capacity import UnitCosts, assumptions, figures, medians, needs, night_hours, unit_costs
from tests.benchmarks.scale.page import PAGE, render

# a run of 2 min with 4 clips: idle steps cost 1 s; 3 steps go with the minutes, 7 with the clips, 2 with neither
RUN = {
    "footage_sec": 120.0,
    "clips": 4,
    "cpu_sec": {
        **{"source_video": 2.0, "conflict_measures": 4.0, "near_miss_events": 1.0, "perception": 50.0},
        **{"verified_events": 1.0, "saliency_maps": 1.0, "shareable_clips": 1.0, "corrected_severities": 1.0},
        **{"severity_ranking": 1.0, "mined_clips": 9.0, "clip_ttc": 3.0, "safety_report": 11.0},
    },
    "pass_cpu_sec_a_minute": 20.0,
    "decode_cpu_sec_a_minute": 5.0,
    "media_mb": 8.0,
    "tables_kb": 100.0,
    **{"database_kb": 3000.0, "pruned_kb": 1500.0, "bare_kb": 200.0, "event_rows": 600, "loaded_inputs": 80},
}
ASSUMED = {
    **{"cars": 10.0, "hours_a_day": 3.0, "hours_a_video": 0.5, "clips_a_video": 2.0, "source_mbit_s": 8.0},
    **{"pixels_a_frame": 200.0, "measured_pixels_a_frame": 100.0, "night_hours": 10.0, "utilisation": 0.5},
    **{"reads_of_footage": 3.0, "judged_share": 0.5, "answers_a_clip": 3.0, "sec_an_answer": 10.0},
    **{"predicted_share": 0.1, "sec_a_made_video": 60.0},
}


def test_unit_costs_of_a_run_by_hand() -> None:
    unit = unit_costs(RUN)
    assert (unit.step_cpu_sec, unit.steps, unit.video_cpu_sec) == (1.0, 12, 12.0)
    assert unit.minute_cpu_sec == 20 + (1 + 3 + 0) / 2  # what is over an idle step, a minute
    assert unit.clip_cpu_sec == (8 + 2 + 10) / 4
    assert (unit.clip_mb, unit.table_kb_a_minute) == (2.0, 50.0)


def test_a_day_by_hand() -> None:
    found = {line.what: line.value for line in needs(ASSUMED, unit_costs(RUN))}
    assert found["footage"] == 30 and found["videos (partitions, runs)"] == 60 and found["clips"] == 120
    assert found["CPU of steps as such"] == pytest.approx(60 * 12 / 3600)
    assert found["CPU of footage"] == pytest.approx(30 * 60 * (22 + 5) / 3600)  # twice the pixels: 5 s more
    assert found["CPU of clips"] == pytest.approx(120 * 5 / 3600)
    assert found["cores, a day's footage in a night"] == pytest.approx((0.2 + 13.5 + 1 / 6) / 5)
    assert found["GPU"] == pytest.approx((120 * 0.5 * 3 * 10 + 120 * 0.1 * 60) / 3600)
    assert found["footage to keep"] == pytest.approx(30 * 3600 * 1e6 / 1e12)  # 8 Mbit/s are 1 MB/s
    assert found["network to the workers"] == pytest.approx(0.108 * 3 * 8000 / 36000)  # TB in ten hours, as Gbit/s
    assert found["clips, annotated clips, reports"] == pytest.approx(240e-6)
    assert found["tables"] == pytest.approx(30 * 60 * 50 / 1e6)
    assert found["rows of the event log"] == 36_000 and found["tables read (S3 GET)"] == 4800
    assert [
        found[f"PostgreSQL, {name}"] for name in ("as written", "logs pruned", "without pictures")
    ] == pytest.approx([0.18, 0.09, 0.012])
    assert found["days until 100,000 partitions"] == pytest.approx(100_000 / 60)


def test_a_night_waits_for_its_last_worker() -> None:
    unit = UnitCosts(1, 10, 20, 5, 0, 0, 0, 0, 0, 0, 0, 0)
    # 5 videos, 2 workers: three rounds of 10 + 2 x 20 + 1 x 5 = 55 s
    assert night_hours(5, 2, unit, 2, 1) == pytest.approx(3 * 55 / 3600)


def test_a_question_has_the_median_of_its_runs_at_each_size() -> None:
    runs = [
        {"videos": size, "what": what, "cpu_sec": cpu, "wall_sec": 2 * cpu, "peak_mb": peak}
        for size, what, cpu, peak in (
            (10, "a", 3.0, None),
            (10, "b", 1.0, 7.0),
            (10, "a", 9.0, None),
            (20, "a", 5.0, None),
        )
    ]
    assert medians(runs) == [
        {"videos": 10, "what": "a", "runs": 2, "wall_sec": 12.0, "cpu_sec": 6.0},
        {"videos": 10, "what": "b", "runs": 1, "wall_sec": 2.0, "cpu_sec": 1.0, "peak_mb": 7.0},
        {"videos": 20, "what": "a", "runs": 1, "wall_sec": 10.0, "cpu_sec": 5.0},
    ]


def test_the_page_says_what_its_figures_give() -> None:
    assert PAGE.read_text("utf-8") == render(figures()), "python -m tests.benchmarks.scale.capacity --write"


def test_every_assumption_is_used_and_says_why() -> None:
    data = figures()
    assert set(assumptions(data)) == set(ASSUMED)
    assert all(entry["why"] for name, entry in data["assumed"].items() if name != "night_hours")
    for name in ASSUMED:
        values = assumptions(data)
        before = needs(values, unit_costs(data["measured"]))
        assert needs(values | {name: values[name] * 2}, unit_costs(data["measured"])) != before, name

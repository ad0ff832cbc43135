"""The report in a real browser: clips play, figures are drawn, hostile text does not run, nothing is fetched.

A small server hands out the report and a page that looks at it in a frame and posts what it found. Headless Chromium is
asked for; without it the test is skipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from autorisk_dagster import tables
from autorisk_dagster.profile import load_profile
from autorisk_dagster.reporting.report import render_report
from tests.browser import CHROMIUM, Site, serving
from tests.reporting.example import reason_row, report_data, track_rows, video_row

HOSTILE = "<script>window.hacked = 1</script><img src='/leak' onerror='window.hacked = 1'></script>"
CHECK = """<!doctype html><meta charset="utf-8"><title>check</title>
<iframe src="/report.html" width="1150" height="850"></iframe>
<script>
const until = (test) => new Promise((done) => {
  const look = () => (test() ? done(true) : setTimeout(look, 50));
  look();
  setTimeout(() => done(false), 15000);
});
onload = async () => {
  const frame = document.querySelector("iframe");
  const page = frame.contentDocument;
  const found = { videos: [], hacked: frame.contentWindow.hacked ?? null };
  page.querySelectorAll("details").forEach((details) => (details.open = true));
  for (const video of page.querySelectorAll("video")) {
    video.muted = true;
    await until(() => video.readyState >= 1 || video.error);
    const hidden = getComputedStyle(video).display === "none";
    await video.play().catch(() => {});
    const plays = await until(() => video.currentTime > 0.1);
    video.pause();
    video.currentTime = 1.0;
    const seeks = await until(() => !video.seeking && Math.abs(video.currentTime - 1.0) < 0.01);
    found.videos.push({ name: video.className, seconds: video.duration, hidden, plays, seeks });
  }
  const figures = [...page.querySelectorAll("figure[data-figure]")];
  found.figures = [];
  for (const figure of figures) {
    figure.scrollIntoView();
    found.figures.push([figure.dataset.figure, await until(() => figure.querySelector(".main-svg"))]);
  }
  const [annotated, original] = page.querySelectorAll("#clip-1 video");
  annotated.currentTime = 1.5;
  page.querySelector("#clip-1 input[value=original]").click();
  await until(() => Math.abs(original.currentTime - 1.5) < 0.01);
  found.after = [annotated, original].map((video) => getComputedStyle(video).display);
  found.original_at = original.currentTime;
  found.overflow = page.documentElement.scrollWidth - frame.contentWindow.innerWidth;
  const injected = page.createElement("script");
  injected.textContent = "window.injected = 1";
  page.body.append(injected);
  found.injected = frame.contentWindow.injected ?? null;
  await fetch("/found", { method: "POST", body: JSON.stringify(found) });
};
</script>"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("browser")
    data = report_data(folder, load_profile("default", Path(__file__).parents[2] / "configs"))
    attacked = replace(
        data,
        video=video_row(file_name=HOSTILE),
        tracks=track_rows(label=HOSTILE),
        reason_outputs=tables.frame(
            [
                reason_row("example-c01", "HIGH", causal_reasoning=HOSTILE),
                reason_row("example-c02", None, error=HOSTILE),
            ],
            tables.REASON_OUTPUTS,
        ),
    )
    render_report(attacked, folder / "report.html")
    report = (folder / "report.html").read_bytes()
    with serving({"/check.html": CHECK.encode(), "/report.html": report}) as site:
        yield site


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: the report is not looked at in a browser")
def test_the_report_works_in_a_browser(site: Site, tmp_path: Path) -> None:
    found = site.visit("/check.html", tmp_path / "user")
    assert found["hacked"] is None
    assert found["injected"] is None  # the policy stops even a script that found its way into the page
    assert [video["name"] for video in found["videos"]] == ["annotated", "original", "original"]
    assert all(video["plays"] and video["seeks"] for video in found["videos"]), found["videos"]
    assert [video["hidden"] for video in found["videos"]] == [False, True, False]
    assert [round(video["seconds"], 1) for video in found["videos"]] == [2.0, 3.0, 2.0]
    assert found["figures"] == [["ttc-1", True], ["tracks-1", True], ["tracks-2", True], ["signals", True]]
    assert found["after"] == ["none", "block"]  # the other footage, where this one stood
    assert found["original_at"] == pytest.approx(1.5, abs=0.01)
    assert found["overflow"] <= 0
    assert set(site.asked) <= {"/check.html", "/report.html", "/favicon.ico"}  # the icon is the check page's

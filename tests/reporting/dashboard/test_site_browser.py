"""The site in a real browser: every page without an error, search against plain Python, hostile text that stays text.

A check page opens each page in a frame, waits for what its scripts make of it, and posts what it saw. Headless Chromium
is asked for; without it the tests are skipped.
"""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from autorisk_dagster.reporting.dashboard.pages import PAGES
from autorisk_dagster.reporting.dashboard.search_index import words
from autorisk_dagster.reporting.dashboard.site_files import ROOT
from autorisk_dagster.reporting.dashboard.stemmer import stem
from tests.browser import CHROMIUM, Site, serving
from tests.reporting.dashboard.fleet import WORDS, Fleet, thresholds_searched, write_site
from tests.reporting.dashboard.test_site import HOSTILE, index
from tests.reporting.example import write_video

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: the dashboard is not looked at in a browser")

FLEET = Fleet(6, 10, fleet_wide={"correction_parameters": thresholds_searched()})
QUERIES = ("pedestrian", "braking", "brakes ahead", "crossed careful car", "nothing-of-this", "car")
CHECK = """<!doctype html><meta charset="utf-8"><title>check</title>
<iframe width="WIDTH" height="850"></iframe>
<script>
const frame = document.querySelector("iframe");
const until = (test) => new Promise((done) => {
  const look = () => { try { if (test()) return done(true); } catch {} setTimeout(look, 20); };
  look();
  setTimeout(() => done(false), 8000);
});
async function open(name) {
  frame.src = "about:blank";
  await until(() => frame.contentWindow.location.href === "about:blank");
  const errors = [];
  frame.src = `/fleet/dashboard/${name}`;
  await until(() => frame.contentWindow.location.href !== "about:blank");
  const inside = frame.contentWindow;
  inside.console.error = (...words) => errors.push(words.join(" "));
  inside.addEventListener("error", (event) => errors.push(event.message ?? "a file is missing"), true);
  inside.addEventListener("unhandledrejection", (event) => errors.push(String(event.reason)));
  inside.addEventListener("securitypolicyviolation", (event) => errors.push(event.violatedDirective));
  await until(() => inside.document.readyState === "complete");
  return { inside, page: inside.document, errors };
}
onload = async () => {
  const found = await (async () => { BODY })();
  await fetch("/found", { method: "POST", body: JSON.stringify(found) });
};
</script>"""
LOOK = """
  const found = {};
  for (const name of PAGES) {
    const { inside, page, errors } = await open(name);
    if (name === "clips.html") await until(() => page.querySelector("#clip h2"));
    if (name === "search.html") await until(() => page.querySelector("#results li"));
    const figures = [...page.querySelectorAll("figure .plot-area")];
    for (const area of figures) { area.scrollIntoView(); await until(() => area.querySelector(".main-svg")); }
    found[name] = {
      errors,
      hacked: inside.hacked ?? null,
      title: page.querySelector("h1").textContent,
      current: page.querySelector("nav [aria-current=page]").textContent,
      overflow: page.documentElement.scrollWidth - inside.innerWidth,
      figures: figures.map((area) => Boolean(area.querySelector(".main-svg"))),
      text: page.querySelector("main").textContent,
      images: [...page.querySelectorAll("main img")].map((image) => image.getAttribute("src")),
    };
  }
  return found;
"""


def pages_of(folder: Path) -> dict[str, bytes]:
    found = {f"/{path.relative_to(folder)}": path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return found | {"/favicon.ico": b""}


def check(body: str, width: int = 1150) -> bytes:
    names = str([name for name, _ in PAGES])
    return CHECK.replace("BODY", body.replace("PAGES", names)).replace("WIDTH", str(width)).encode()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Path]]:
    folder = tmp_path_factory.mktemp("site")
    write_site(FLEET, folder)
    clip = write_video(folder / "clip.mp4").read_bytes()
    media = {f"/{video}/clips/{n:02d}.mp4": clip for video in FLEET.video_ids for n in range(FLEET.clips)}
    media |= {f"/{video}/clips/previews/{n:02d}.webp": WEBP for video in FLEET.video_ids for n in range(FLEET.clips)}
    media |= {f"/{video}/saliency/{n:02d}.webp": WEBP for video in FLEET.video_ids for n in range(FLEET.clips)}
    media |= {f"/{video}/predictions/{n:02d}.mp4": clip for video in FLEET.video_ids for n in range(FLEET.clips)}
    media |= {f"/{video}/counterfactuals/beside.mp4": clip for video in FLEET.video_ids}
    with serving(pages_of(folder) | media) as served:
        yield served, folder


# One white pixel.
WEBP = bytes.fromhex("52494646240000005745425056503820180000003001009d012a0100010002003425a400037000fefbfd500000")


@pytest.mark.parametrize("width", [1150, 390])
def test_every_page_opens_without_an_error(site: tuple[Site, Path], tmp_path: Path, width: int) -> None:
    served, _ = site
    served.pages["/check.html"] = check(LOOK, width)
    found = served.visit("/check.html", tmp_path / "user")
    for name, title in PAGES:
        seen = found[name]
        assert seen["errors"] == [], name
        assert seen["title"] == seen["current"] == title
        assert seen["overflow"] <= 0, name
        assert all(seen["figures"]), name
    assert len(found["index.html"]["figures"]) == 2
    assert found["evaluation.html"]["figures"] == [True]
    assert found["signals.html"]["figures"] and found["depth.html"]["figures"]
    assert {path for path in served.asked if path not in served.pages and path != "/found"} == set()


def test_hostile_text_does_not_run_in_any_page(tmp_path: Path) -> None:
    write_site(Fleet(2, 3, text=HOSTILE), tmp_path / "site")
    with serving(pages_of(tmp_path / "site") | {"/check.html": check(LOOK)}) as served:
        found = served.visit("/check.html", tmp_path / "user")
        asked = [path for path in served.asked if path.endswith("/x")]
    assert {name: seen["hacked"] for name, seen in found.items()} == dict.fromkeys(found)
    assert asked == []  # the address in the hostile picture
    assert "<img src=x onerror=hacked()>" in found["clips.html"]["text"]
    assert "<img src=x onerror=hacked()>" in found["search.html"]["text"]


AXE = """
  const found = {};
  for (const name of PAGES) {
    const { inside, page } = await open(name);
    if (name === "clips.html") await until(() => page.querySelector("#clip h2"));
    if (name === "search.html") await until(() => page.querySelector("#results li p"));
    const axe = page.createElement("script");
    axe.src = "axe.js";
    page.head.append(axe);
    await until(() => inside.axe);
    const { violations, passes } = await inside.axe.run(page, { resultTypes: ["violations"] });
    found[name] = {
      checked: passes.length,
      found: violations.map((one) => [one.impact, one.id, one.nodes.slice(0, 3).map((node) => node.html)]),
    };
  }
  return found;
"""


def test_no_page_has_a_serious_fault_of_accessibility(site: tuple[Site, Path], tmp_path: Path) -> None:
    spec = importlib.util.find_spec("axe_core_python")
    if spec is None or spec.origin is None:
        pytest.skip("axe-core-python is not installed: pip install -e .[dev]")
    served, _ = site
    served.pages[f"/{ROOT}/axe.js"] = Path(spec.origin).with_name("axe.min.js").read_bytes()
    served.pages["/check.html"] = check(AXE)
    found = served.visit("/check.html", tmp_path / "user")
    assert set(found) == {name for name, _ in PAGES}
    for name, seen in found.items():
        assert seen["checked"] > 10, name
        assert [one for one in seen["found"] if one[0] in ("serious", "critical")] == [], name


SEARCH = """
  const { inside, page, errors } = await open("search.html");
  await until(() => page.querySelector("#results li"));
  const bridge = page.createElement("script");
  bridge.src = "bridge.js";
  page.head.append(bridge);
  await until(() => inside.bridge);
  const { Search, Site } = inside.bridge;
  const index = await Site.chunk(page.body.dataset.search);
  const found = { errors, answers: {}, stems: {} };
  for (const query of QUERIES) {
    found.answers[query] = (await Search.search(index, query)).found;
    found.answers[`${query}/exact`] = (await Search.search(index, query, { exact: true })).found;
    found.answers[`${query}/hazards`] = (await Search.search(index, query, { fields: ["hazards"] })).found;
  }
  for (const word of WORDS) found.stems[word] = Search.stem(word);
  page.querySelector("#query").value = "pedestrian";
  page.querySelector("#search").requestSubmit();
  await until(() => page.querySelector("#results mark"));
  await until(() => [...page.querySelectorAll("#results li")].every((one) => one.querySelector("p")));
  found.shown = [...page.querySelectorAll("#results li a")].map((link) => link.textContent);
  found.marks = [...new Set([...page.querySelectorAll("#results mark")].map((mark) => mark.textContent))];
  const boxes = [...page.querySelectorAll("#filters [name=severity]")];
  boxes.filter((box) => box.value !== "HIGH").forEach((box) => box.click());
  await until(() => [...page.querySelectorAll("#results .badge")].every((one) => one.textContent === "HIGH"));
  found.high = [...page.querySelectorAll("#results li a")].map((link) => link.textContent);
  found.count = page.querySelector("#count").textContent;
  return found;
"""
MORE_WORDS = (
    "generalizations oscillators university skies dying agreed controlling hoping probably nationality yy naïve"
)


def plain_search(texts: list[str], query: str, exact: bool) -> list[tuple[int, float, int]]:
    """BM25 by its formula, without an index: k1 1.2, b 0.75; more of the query's words first, then the score."""
    reduced = (lambda word: word) if exact else stem
    documents = [[reduced(word) for word in words(text)] for text in texts]
    mean = sum(map(len, documents)) / len(documents)
    terms = set(map(reduced, words(query)))
    answers = []
    for number, document in enumerate(documents):
        score, hits = 0.0, 0
        for term in terms:
            times = document.count(term)
            if times:
                holding = sum(term in other for other in documents)
                rarity = math.log(1 + (len(documents) - holding + 0.5) / (holding + 0.5))
                score += rarity * times * 2.2 / (times + 1.2 * (0.25 + 0.75 * len(document) / mean))
                hits += 1
        if hits:
            answers.append((number, score, hits))
    return sorted(answers, key=lambda one: (-one[2], -one[1], one[0]))


def texts_of(clip_ids: list[str], fields: tuple[str, ...]) -> list[str]:
    """What was said of each clip, from the fleet's own tables."""
    said = {}
    for video in FLEET.video_ids:
        events = FLEET.read("near_miss_events", video).to_dicts()
        for n, row in enumerate(FLEET.read("reason_outputs", video).iter_rows(named=True)):
            hazard = row["hazards"][0]
            inside = [event for event in events if event["event_id"] == f"{video}-e{n}"]
            said[row["clip_id"]] = {
                "hazards": f"{hazard['type']} {hazard['actors'][0]} {hazard['spatial_relation']}",
                "reasoning": f"{row['causal_reasoning']} {row['short_term_prediction']} {row['recommended_action']}",
                "evidence": " ".join([*row["evidence"], *(f"{e['actors']} {e['evidence']}" for e in inside)]),
            }
    return [" ".join(said[clip_id][name] for name in fields) for clip_id in clip_ids]


def test_search_answers_as_a_plain_search_does(site: tuple[Site, Path], tmp_path: Path) -> None:
    served, folder = site
    asked = [*WORDS, *MORE_WORDS.split()]
    served.pages[f"/{ROOT}/bridge.js"] = b"window.bridge = { Search, Site };"
    served.pages["/check.html"] = check(SEARCH.replace("QUERIES", str(list(QUERIES))).replace("WORDS", str(asked)))
    found: dict[str, Any] = served.visit("/check.html", tmp_path / "user")
    assert found["errors"] == []
    assert found["stems"] == {word: stem(word) for word in asked}
    ids = index(folder)["clips"]["id"]
    everything = ("hazards", "reasoning", "evidence")
    for query in QUERIES:
        for name, exact, fields in (
            (query, False, everything),
            (f"{query}/exact", True, everything),
            (f"{query}/hazards", False, ("hazards",)),
        ):
            wanted = plain_search(texts_of(ids, fields), query, exact)
            answers = found["answers"][name]
            assert [(clip, hits) for clip, _, hits in answers] == [(clip, hits) for clip, _, hits in wanted], name
            assert [score for _, score, _ in answers] == pytest.approx([score for _, score, _ in wanted]), name
    assert len(found["answers"]["braking"]) > len(found["answers"]["braking/exact"]) > 0  # brakes, braked
    assert found["answers"]["nothing-of-this"] == []
    best = [ids[clip] for clip, _, _ in found["answers"]["pedestrian"]]
    assert found["shown"] == best[:20]
    assert found["marks"] == ["pedestrian"]
    severities = dict(zip(ids, index(folder)["clips"]["severity"], strict=True))
    high = [clip for clip in best if severities[clip] == "HIGH"]
    assert found["high"] == high[:20] and found["count"].startswith(str(len(high)))


EXPLORE = """
  const { inside, page, errors } = await open("clips.html#" + encodeURIComponent("CLIP"));
  await until(() => page.querySelector("#clip h2")?.textContent === "CLIP");
  const video = page.querySelector("#clip video");
  video.muted = true;
  await until(() => video.readyState >= 2);
  video.currentTime = 1.05;
  await until(() => !video.seeking);
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  const canvas = page.querySelector("#clip canvas");
  const pixels = () => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  const painted = () => pixels().some((value) => value);
  const found = { errors, drawn: painted(), duration: video.duration };
  const box = page.querySelector(".tools input");
  box.click();
  found.off = painted();
  box.click();
  const area = [...page.querySelectorAll("#clip .plot-area")][0];
  area.scrollIntoView();
  found.chart = await until(() => area.querySelector(".main-svg"));
  found.cursor = await until(() => { video.currentTime += 0.01; return area.layout.shapes?.length === 1; });
  found.missing = [...page.querySelectorAll("#clip .unmade code")].map((code) => code.textContent);
  const rows = () => [...page.querySelectorAll("#list a")].map((link) => decodeURIComponent(link.hash.slice(1)));
  found.all = rows().length;
  page.querySelector("[name=misses]").click();
  found.withMisses = rows();
  page.querySelector("[name=misses]").click();
  page.querySelector("[name=order]").value = "ttc";
  page.querySelector("[name=order]").dispatchEvent(new Event("change", { bubbles: true }));
  found.byTtc = rows();
  found.pages = page.querySelector("#pager").textContent;
  page.querySelector("#pager button:last-child").click();
  found.second = rows().length;
  const link = page.querySelector("#list a");
  link.focus();
  link.click();
  const wanted = decodeURIComponent(link.hash.slice(1));
  found.followed = await until(() => page.querySelector("#clip h2").textContent === wanted);
  inside.location.hash = "no-such-clip";
  found.unknown = await until(() => page.querySelector("#clip").textContent.includes("No such clip"));
  return found;
"""


def test_the_explorer_draws_the_tracks_in_step_and_filters(site: tuple[Site, Path], tmp_path: Path) -> None:
    served, folder = site
    clips = index(folder)["clips"]
    clip = next(name for name, misses in zip(clips["id"], clips["misses"], strict=True) if misses)
    served.pages["/check.html"] = check(EXPLORE.replace("CLIP", clip))
    found = served.visit("/check.html", tmp_path / "user")
    assert found["errors"] == []
    assert (found["drawn"], found["off"]) == (True, False)
    assert found["chart"] and found["cursor"]
    assert "explanation_checklist" in found["missing"]
    assert (found["all"], found["second"]) == (50, 10)  # of 60, by pages of 50
    assert re.search("page 1 of 2", found["pages"])
    with_misses = [name for name, misses in zip(clips["id"], clips["misses"], strict=True) if misses]
    assert found["withMisses"] == with_misses[:50]
    ttc = dict(zip(clips["id"], clips["ttc"], strict=True))
    order = [math.inf if ttc[name] == "inf" else 1e99 if ttc[name] is None else ttc[name] for name in found["byTtc"]]
    finite = [value for value in order if value < 1e9]
    assert finite == sorted(finite) and order[: len(finite)] == finite
    assert found["followed"] and found["unknown"]
    assert f"/{ROOT}/clips.html" in served.asked

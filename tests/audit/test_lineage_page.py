"""A lineage's page in a browser: no wider than the screen, no fault of accessibility, hostile text inert."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from autorisk_dagster.audit.lineage import STEPS, Finding, Lineage, Made, Sample, Step, told
from autorisk_dagster.audit.lineage_page import lineage_page
from tests.browser import CHROMIUM, serving

HOSTILE = "<script>top.hacked = 1</script><img src=x onerror='top.hacked = 1'>"
CHECK = """<!doctype html><meta charset="utf-8"><title>check</title><iframe width="WIDTH" height="850"></iframe><script>
onload = async () => {
  const frame = document.querySelector("iframe"), errors = [];
  await new Promise((done) => { frame.onload = done; frame.src = "/page.html"; });
  const page = frame.contentDocument;
  const script = await (await fetch("/axe.js")).text();
  frame.contentWindow.eval(script);
  const { violations, passes } = await frame.contentWindow.axe.run(page, { resultTypes: ["violations"] });
  const found = {
    hacked: window.hacked ?? null,
    overflow: page.documentElement.scrollWidth - frame.contentWindow.innerWidth,
    checked: passes.length,
    serious: violations.filter((one) => ["serious", "critical"].includes(one.impact)).map((one) => one.id),
    links: [...page.querySelectorAll(".pipeline a")].map((a) => a.getAttribute("href")), scripts: page.scripts.length };
  await fetch("/found", { method: "POST", body: JSON.stringify(found) });
};
</script>"""


def lineage(*, broken: bool) -> Lineage:
    made = Made(HOSTILE, "2026-01-01", HOSTILE, "ab" * 32, {})
    parents = {name: STEPS[max(n - 1, 0) : n] for n, name in enumerate(STEPS)}
    steps = []
    for name in STEPS:
        findings = (Finding("stored as made", True, "holds"), Finding("from tracks", not broken, f"{HOSTILE} was read"))
        steps.append(Step(name, parents[name], (("said", HOSTILE), ("long", "9" * 400)), made, findings))
    sample = Sample(1.25, 31, (1.0, 2.0, 30.0, 40.0), 0.5, "1.4 s (1.1 to 2.0 s)")
    return Lineage("drive", f"drive-c01{HOSTILE}", "HIGH", HOSTILE, tuple(steps), (sample,), HOSTILE, HOSTILE,
                   HOSTILE if broken else None)  # fmt: skip


def test_what_holds_is_told_in_few_lines_and_inputs_in_one() -> None:
    findings = [
        Finding("stored as made", True, "the stored table is what was made"),
        Finding("from tracks", True, "read tracks as it is now"),
        Finding("from mined_clips", True, "read mined_clips as it is now"),
        Finding("from clip_ttc", False, "read another clip_ttc"),
    ]
    assert told(findings) == [
        "the stored table is what was made",
        "made from tracks, mined_clips, as they are now",
    ]
    assert told(findings[:1]) == ["the stored table is what was made"]


@pytest.mark.parametrize("broken", [False, True])
def test_a_page_says_what_does_not_hold(broken: bool) -> None:
    page = lineage_page(lineage(broken=broken), [])
    assert (f"all {2 * len(STEPS)} checks hold" in page) != broken
    assert page.count("does not hold</text>") == (len(STEPS) if broken else 0)
    assert "<script" not in page and "<img src=x" not in page


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: the page is not looked at in a browser")
@pytest.mark.parametrize("width", [1150, 390])
def test_in_a_browser_it_fits_is_accessible_and_inert(tmp_path: Path, width: int) -> None:
    spec = importlib.util.find_spec("axe_core_python")
    if spec is None or spec.origin is None:
        pytest.skip("axe-core-python is not installed: pip install -e .[dev]")
    page = lineage_page(lineage(broken=width == 390), [(1.25, b"no picture")])
    # Its policy allows no script at all, and so no axe: it is looked at without.
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in page
    bare = page.replace('http-equiv="Content-Security-Policy"', 'name="policy"')
    files = {"/page.html": bare.encode(), "/check.html": CHECK.replace("WIDTH", str(width)).encode()}
    files["/axe.js"] = Path(spec.origin).with_name("axe.min.js").read_bytes()
    with serving(files) as served:
        found = served.visit("/check.html", tmp_path / "user")
    assert found["hacked"] is None and found["scripts"] == 0
    assert found["overflow"] <= 0
    assert found["checked"] > 10 and found["serious"] == []
    assert sorted(found["links"]) == sorted(f"#{name}" for name in STEPS)

"""A stream-copied clip in a real browser: what it paints, at which time of its clock, and where it begins and ends.

The pictures carry their number, which the page reads from what the browser painted.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from autorisk_dagster.video.stream_copy import copy_clip
from tests.browser import CHROMIUM, serving
from tests.video_factory import steady, tone, write_video

RATE_HZ = 30
FIRST, AFTER = 33, 51  # frames of the windows [1.1, 1.7) and [1.1, 1.69): key frames at 0.8 and 1.6 s
SEEKS = (0.0, 0.01, 0.31, 0.55, 0.59, 0.15, 0.0)
CHECK = """<!doctype html><meta charset="utf-8"><title>check</title>
<script>
const until = (test) => new Promise((done) => {
  const look = () => (test() ? done(true) : setTimeout(look, 20));
  look();
  setTimeout(() => done(false), 10000);
});
const canvas = document.createElement("canvas");
const pen = canvas.getContext("2d", { willReadFrequently: true });
const number = (video) => {
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  pen.drawImage(video, 0, 0);
  let found = 0;
  for (let bit = 0; bit < 10; bit++) {
    const x = Math.floor(((bit + 0.5) * canvas.width) / 10);
    found = 2 * found + (pen.getImageData(x, Math.floor(canvas.height * 0.18), 1, 1).data[1] > 128);
  }
  return found;
};
const looked_at = async (address) => {
  const video = document.createElement("video");
  const painted = [];
  const note = (now, frame) => {
    painted.push([frame.mediaTime, number(video)]);
    video.requestVideoFrameCallback(note);
  };
  video.requestVideoFrameCallback(note);
  video.muted = true;
  document.body.append(video);
  video.src = address;
  await until(() => video.readyState >= 2 || video.error);
  await until(() => painted.length || video.error);
  const found = { error: video.error && video.error.message, seconds: video.duration };
  found.size = [video.videoWidth, video.videoHeight];
  found.first = [video.currentTime, number(video)];
  video.playbackRate = 0.5;
  await video.play().catch(() => {});
  found.ended = await until(() => video.ended);
  found.last = number(video);
  found.painted = [...painted];
  found.seeks = [];
  for (const time of SEEKS) {
    const before = painted.length;
    video.currentTime = time;
    await until(() => !video.seeking && painted.length > before);
    found.seeks.push([time, video.currentTime, number(video)]);
  }
  return found;
};
onload = async () => {
  const inside = await (await fetch("/clip.mp4")).blob();
  const data = await new Promise((done) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result);
    reader.readAsDataURL(inside);
  });
  const found = { linked: await looked_at("/clip.mp4"), embedded: await looked_at(data) };
  found.wide = await looked_at("/wide.mp4");
  await fetch("/found", { method: "POST", body: JSON.stringify(found) });
};
</script><body>""".replace("SEEKS", str(list(SEEKS)))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium: clips are not looked at in a browser")
    folder = tmp_path_factory.mktemp("browser")
    options = {"bf": "3", "x264-params": "keyint=24:min-keyint=24:scenecut=0:b-adapt=0:b-pyramid=normal"}
    source = write_video(folder / "a.mp4", steady(90, RATE_HZ), options=options, sound=tone(3.0))
    wide = write_video(folder / "b.mp4", steady(90, RATE_HZ), options=options, pixel_aspect=Fraction(2, 1))
    copy_clip(source, 1.1, 1.7, folder / "clip.mp4")
    copy_clip(wide, 1.1, 1.69, folder / "wide.mp4")
    pages = {"/check.html": CHECK.encode(), "/favicon.ico": b""}
    pages |= {f"/{name}.mp4": (folder / f"{name}.mp4").read_bytes() for name in ("clip", "wide")}
    with serving(pages) as site:
        answer: dict[str, Any] = site.visit("/check.html", folder / "user")
    return answer


@pytest.mark.parametrize("how", ["linked", "embedded", "wide"])
def test_the_browser_shows_the_window_and_nothing_else(found: dict[str, Any], how: str) -> None:
    seen = found[how]
    assert seen["error"] is None
    # The last packet of sound, 21 ms, is not cut.
    assert seen["seconds"] == (pytest.approx(0.59, abs=0.001) if how == "wide" else pytest.approx(0.61, abs=0.012))
    assert seen["size"] == ([320, 90] if how == "wide" else [160, 90])
    assert seen["first"] == [0, FIRST]
    assert (seen["ended"], seen["last"]) == (True, AFTER - 1)
    assert seen["painted"][0] == [0, FIRST]
    for time, number in seen["painted"]:  # a busy machine may skip some
        assert number == FIRST + round(time * RATE_HZ)
    assert max(number for _, number in seen["painted"]) == AFTER - 1


@pytest.mark.parametrize("how", ["linked", "embedded", "wide"])
def test_a_seek_lands_on_the_frame_of_that_time(found: dict[str, Any], how: str) -> None:
    for time, landed, number in found[how]["seeks"]:
        assert landed == pytest.approx(time, abs=0.001)
        assert number == FIRST + int(time * RATE_HZ + 1e-6)

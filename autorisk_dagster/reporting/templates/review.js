// One clip under review: a key a verdict, saved in the log before the next clip comes.
"use strict";

(() => {
  const { clip, clipSha256, outputSha256, previous, following } = document.body.dataset;
  const byId = (id) => document.getElementById(id);
  const video = byId("clip");
  const note = byId("note");
  let busy = false;

  const open = (clipId) => { if (clipId) location.assign(`/clips/${encodeURIComponent(clipId)}`); };

  const judge = async (verdict, severity = null) => {
    if (busy) return;
    busy = true;
    try {
      const answer = await desk.post("/verdict", {
        clip_id: clip, clip_sha256: clipSha256, output_sha256: outputSha256, verdict, severity, note: note.value,
      });
      desk.say("Saved.");
      if (verdict === "undo") location.reload();
      else if (answer.next) open(answer.next);
      else location.assign("/");
    } catch (error) {
      desk.warn(error.message);
      busy = false;
    }
  };
  const press = (selector) => () => document.querySelector(selector)?.click();

  const boxes = byId("boxes");
  const swap = () => {
    if (!boxes) return;
    const shown = boxes.getAttribute("aria-pressed") === "true";
    const at = video.currentTime;
    const paused = video.paused;
    video.src = shown ? video.dataset.footage : video.dataset.annotated;
    video.addEventListener("loadedmetadata", () => { video.currentTime = at; if (!paused) desk.play(video); }, { once: true });
    boxes.setAttribute("aria-pressed", String(!shown));
  };

  for (const button of document.querySelectorAll("button[data-verdict]"))
    button.addEventListener("click", () => judge(button.dataset.verdict, button.dataset.severity ?? null));
  byId("undo").addEventListener("click", () => judge("undo"));
  byId("previous").addEventListener("click", () => open(previous));
  byId("next").addEventListener("click", () => open(following));
  boxes?.addEventListener("click", swap);
  const severity = (name) => press(`button[data-severity=${name}]`);
  desk.keys({
    c: press("[data-verdict=confirm]"), x: press("[data-verdict=not_a_hazard]"), d: press("[data-verdict=dismiss]"),
    1: severity("NONE"), 2: severity("LOW"), 3: severity("MEDIUM"), 4: severity("HIGH"), u: press("#undo"),
    " ": () => desk.toggle(video), ArrowLeft: () => open(previous), ArrowRight: () => open(following),
    ",": () => desk.step(video, -0.1), ".": () => desk.step(video, 0.1),
    b: swap, n: () => note.focus(), m: () => { video.muted = !video.muted; }, q: () => location.assign("/"),
  });
  desk.play(video);
})();

// Blind labelling: one clip on loop, a key a severity, what is saved is said.
"use strict";

(() => {
  let state = JSON.parse(document.getElementById("state").textContent);
  const byId = (id) => document.getElementById(id);
  const video = byId("clip");
  const note = byId("note");
  const buttons = [...document.querySelectorAll("button[data-severity]")];
  const undone = [];  // what undo brings back: {key, severity, note}
  let at = 0;
  let busy = false;
  let noting = Promise.resolve();  // the note that is being saved: a label waits for it
  const drafts = new Map();  // notes on clips that have no label yet, by key

  const open = () => state.clips.findIndex((clip) => clip.severity === null);
  const labelled = () => state.clips.filter((clip) => clip.severity !== null).length;

  const show = (index) => {
    const left = state.clips[at];
    if (left.severity === null) drafts.set(left.key, note.value);
    at = Math.min(Math.max(index, 0), state.clips.length - 1);
    const clip = state.clips[at];
    const source = `/clip/${clip.key}`;
    if (video.getAttribute("src") !== source) { video.src = source; desk.play(video); }
    note.value = clip.severity === null ? drafts.get(clip.key) ?? "" : clip.note;
    paint();
  };

  const paint = () => {
    const clip = state.clips[at];
    const frozen = state.frozen_at !== null;
    byId("position").textContent = `Clip ${at + 1} of ${state.clips.length}`;
    byId("done").textContent = `${labelled()} of ${state.clips.length} labelled`;
    byId("progress").max = state.clips.length;
    byId("progress").value = labelled();
    for (const button of buttons) {
      button.setAttribute("aria-pressed", String(button.dataset.severity === clip.severity));
      button.disabled = frozen;
    }
    note.disabled = frozen;
    byId("undo").disabled = frozen || undone.length === 0;
    byId("freeze").disabled = frozen || labelled() === 0;
    byId("previous").disabled = at === 0;
    byId("next").disabled = at === state.clips.length - 1;
    byId("frozen").hidden = !frozen;
    if (frozen) byId("frozen-at").textContent = state.frozen_at.slice(0, 19).replace("T", " ") + " UTC";
  };

  const save = async (key, severity, text) => {
    busy = true;
    try {
      state = await desk.post("/label", { key, severity, note: text });
      return true;
    } catch (error) {
      desk.warn(error.message);
      return false;
    } finally {
      busy = false;
      paint();
    }
  };

  const label = async (severity) => {
    await noting;
    if (busy || state.frozen_at !== null) return;
    const before = { ...state.clips[at] };
    if (!(await save(before.key, severity, note.value))) return;
    undone.push(before);
    desk.say(`Clip ${at + 1}: ${severity} saved.`);
    const next = state.clips.findIndex((clip, index) => index > at && clip.severity === null);
    const target = next >= 0 ? next : open();
    if (target >= 0) show(target);
    else { paint(); desk.say(`Clip ${at + 1}: ${severity} saved. All clips are labelled: freeze the set to let it judge.`); }
  };

  const undo = async () => {
    if (busy || !undone.length || state.frozen_at !== null) return;
    const before = undone[undone.length - 1];
    if (!(await save(before.key, before.severity, before.note))) return;
    undone.pop();
    show(state.clips.findIndex((clip) => clip.key === before.key));
    desk.say(`Clip ${at + 1}: taken back.`);
  };

  const keepNote = async () => {
    const clip = state.clips[at];
    if (busy || clip.severity === null || note.value === clip.note || state.frozen_at !== null) return;
    if (await save(clip.key, clip.severity, note.value)) desk.say(`Clip ${at + 1}: note saved.`);
  };

  const dialog = byId("confirm");
  const ask = () => {
    if (state.frozen_at !== null || labelled() === 0) return;
    const open = state.clips.length - labelled();
    byId("confirm-text").textContent = `${labelled()} labels are frozen and cannot be changed afterwards.` +
      (open ? ` ${open} of ${state.clips.length} clips have no label yet and will have none in this set.` : "");
    dialog.showModal();
  };
  dialog.addEventListener("close", async () => {
    if (dialog.returnValue !== "freeze") return;
    try {
      state = await desk.post("/freeze", {});
      desk.say("The label set is frozen.");
    } catch (error) {
      desk.warn(error.message);
    }
    paint();
  });

  for (const button of buttons) button.addEventListener("click", () => label(button.dataset.severity));
  byId("undo").addEventListener("click", undo);
  byId("freeze").addEventListener("click", ask);
  byId("previous").addEventListener("click", () => show(at - 1));
  byId("next").addEventListener("click", () => show(at + 1));
  note.addEventListener("blur", () => { noting = keepNote(); });
  desk.keys({
    1: () => label("NONE"), 2: () => label("LOW"), 3: () => label("MEDIUM"), 4: () => label("HIGH"),
    " ": () => desk.toggle(video),
    ArrowLeft: () => show(at - 1), ArrowRight: () => show(at + 1),
    ",": () => desk.step(video, -0.1), ".": () => desk.step(video, 0.1),
    u: undo, n: () => note.focus(), m: () => { video.muted = !video.muted; },
  });
  if (state.clips.length) show(Math.max(open(), 0));
})();

// What both desks do alike: send, say what happened, play the clip, leave keys alone while a note is written.
"use strict";

const desk = (() => {
  const csrf = document.querySelector("meta[name=csrf]").content;
  const status = document.getElementById("status");
  const alert = document.getElementById("alert");

  const say = (text) => { status.textContent = text; alert.hidden = true; };
  const warn = (text) => { alert.textContent = text; alert.hidden = false; status.textContent = ""; };

  const post = async (path, body) => {
    let answer;
    try {
      answer = await fetch(path, {
        method: "POST",
        headers: { "content-type": "application/json", "x-autorisk-token": csrf },
        body: JSON.stringify(body),
      });
    } catch {
      throw new Error("The server does not answer: nothing was saved. Start it again and load this page again.");
    }
    if (answer.ok) return answer.json();
    const text = await answer.text();
    let told = text;
    try { told = JSON.parse(text).error ?? text; } catch { /* plain text */ }
    throw new Error(`Not saved: ${told}`);
  };

  const play = (video) => video.play().catch(() => { video.muted = true; return video.play().catch(() => {}); });
  const toggle = (video) => (video.paused ? play(video) : video.pause());
  const step = (video, seconds) => {
    video.pause();
    video.currentTime = Math.min(Math.max(video.currentTime + seconds, 0), video.duration || 0);
  };

  // Keys work wherever the focus is, but not while text is written, in a dialog, or with Ctrl, Alt or Meta held.
  const keys = (actions) => document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || document.querySelector("dialog[open]")) return;
    if (event.target.matches("textarea, input")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const action = actions[event.key] ?? actions[event.key.toLowerCase()];
    if (!action || event.repeat && event.key.length === 1 && !",.".includes(event.key)) return;
    event.preventDefault();
    action();
  });

  return { say, warn, post, play, toggle, step, keys };
})();

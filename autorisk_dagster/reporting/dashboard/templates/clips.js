/* The clip explorer: a list by pages, and everything there is about one clip. The address names the clip. */
"use strict";
(async () => {
  const { h, badge, clock, ttc, counted } = Site;
  const PAGE = 50;
  const place = (id) => document.getElementById(id);
  let index;
  try {
    index = await Site.clips();
  } catch (error) {
    return Site.failed(place("count"), error);
  }
  const byId = new Map(index.columns.id.map((id, number) => [id, number]));
  const form = place("filters");
  const filter = Site.filters(form, index, () => list(0));
  form.append(h("label", { class: "field" }, "Order", h("select", { name: "order" }, [["worst", "worst first"], ["time", "video and time"], ["ttc", "time to contact"], ["fused", "mining score"]].map(([value, text]) => h("option", { value }, text)))));
  let shown = [];
  let current = null;

  const ORDERS = {
    worst: (a, b) => a - b,
    time: (a, b) => index.columns.video[a] - index.columns.video[b] || index.columns.start[a] - index.columns.start[b],
    ttc: (a, b) => number(index.columns.ttc[a]) - number(index.columns.ttc[b]) || a - b,
    fused: (a, b) => index.columns.fused[b] - index.columns.fused[a] || a - b,
  };
  const number = (value) => (value === null ? 1e9 : value === "inf" ? 1e8 : value);

  function list(page) {
    const holds = filter.holds();
    shown = [];
    for (let n = 0; n < index.size; n++) if (holds(n)) shown.push(n);
    shown.sort(ORDERS[form.elements.order.value]);
    turn(page);
    place("count").textContent = shown.length === index.size ? `${counted(index.size, "clip")}` : `${counted(shown.length, "clip")} of ${index.size}`;
  }

  function turn(page) {
    place("list").replaceChildren(...shown.slice(page * PAGE, (page + 1) * PAGE).map(item));
    place("list").scrollTop = 0;
    Site.pager(place("pager"), page, Math.ceil(shown.length / PAGE), turn);
  }

  function item(n) {
    const row = index.row(n);
    const words = [`${clock(row.start)} to ${clock(row.end)}`, ttc(row.ttc)];
    if (row.misses) words.push(counted(row.misses, "near miss", "near misses"));
    if (row.rule) words.push(row.rule);
    return h("li", {}, h("a", { href: `#${encodeURIComponent(row.id)}`, "aria-current": row.id === current ? "true" : null }, Site.picture(row.preview), h("span", {}, badge(row.severity), h("small", {}, row.of.name), h("small", {}, words.join(" · ")))));
  }

  /* What was not made says what to run. */
  const unmade = (asset, video) => h("p", { class: "unmade" }, "Not made. Materialise ", h("code", {}, asset), " for ", h("code", {}, video), " in the Dagster UI (", h("code", {}, "autorisk ui"), "), then ", h("code", {}, "fleet_dashboard"), ".");
  const withheld = (clip) => !clip.shareable ? unmade("shareable_clips", clip.video) : h("p", { class: "unmade" }, "Left out: the profile hides faces and number plates, and these pictures show the frames as they are.");
  const fact = (name, value) => (value === null || value === undefined || value === "" ? [] : [h("dt", {}, name), h("dd", {}, value)]);
  const part = (title, ...content) => h("section", {}, h("h3", {}, title), ...content);

  async function show(id) {
    const n = byId.get(id);
    const side = place("clip");
    if (n === undefined) {
      side.replaceChildren(h("div", { class: "empty" }, h("h2", {}, "No such clip"), h("p", {}, `There is no clip ${id} in this dashboard. It may have been cut anew: choose one from the list.`)));
      return;
    }
    current = id;
    document.querySelectorAll("#list a").forEach((link) => (link.hash.slice(1) === encodeURIComponent(id) ? link.setAttribute("aria-current", "true") : link.removeAttribute("aria-current")));
    const row = index.row(n);
    try {
      const clip = await Site.chunk(row.chunk, "clips");
      if (current === id) draw(side, row, clip);
    } catch (error) {
      Site.failed(side, error);
    }
  }

  function draw(side, row, clip) {
    const stage = player(clip);
    const judged = clip.reason;
    side.replaceChildren(
      h("header", { class: "clip-head" }, badge(row.severity, true), h("h2", {}, clip.id), h("span", { class: "note" }, `${row.of.name}, ${clock(clip.start)} to ${clock(clip.end)}`)),
      h("div", { class: "columns" }, h("div", {}, ...stage.parts, ...evidence(judged)), h("div", { class: "words" }, ...said(clip, judged))),
      h("div", { class: "two" },
        part("How the severity came about", ...derivation(clip)),
        part("Near misses in this clip", ...nearMisses(clip, stage)),
        h("section", { class: "wide" }, h("h3", {}, "Time to contact"), ...contact(clip, stage)),
        part("Signals at the peak", ...signals(row, clip)),
        part("Grounding: does the explanation hold?", ...checklist(clip)),
        part("Votes and confidence", ...votes(clip, judged)),
        part("Review", ...review(clip)),
        part("What the severity rests on (saliency)", ...saliency(clip)),
        h("section", { class: "wide" }, h("h3", {}, "What comes next (prediction)"), ...films(clip, "predict", "predict_videos")),
        h("section", { class: "wide" }, h("h3", {}, "Danger and safe: no reaction, and the right one"), ...films(clip, "counterfactuals", "counterfactuals")),
        h("section", { class: "wide" }, h("h3", {}, "Clips like this one"), likeThis(row)),
        h("section", { class: "wide" }, h("h3", {}, "Provenance"), h("dl", { class: "facts-list" }, fact("what it rests on", lineage(clip.id)), fact("clip (SHA-256)", clip.sha256), fact("mined by", `${clip.raised_by[0]} (${Math.round(100 * clip.raised_by[1])} % of the score), peak at ${clock(clip.peak)}`), fact("label", clip.label && Object.entries(clip.label).map(([name, value]) => `${name.replace("_", " ")} ${value}`).join(", ")), ...(judged?.made_by ?? []).map(([name, value]) => fact(name, value)), fact("whole video", clip.urls.report && h("a", { href: clip.urls.report }, "safety report")), fact("in plain words", clip.urls.narrative ? h("a", { href: clip.urls.narrative }, "narrative for the safety manager") : h("span", {}, "not made: ", h("code", {}, "safety_narrative"))))),
      ),
    );
    stage.drawCharts.forEach((drawing) => drawing());
  }

  // Its page is made by the server of `autorisk ui`; from a folder, or another web server, there is only the command.
  const lineage = (id) => (location.pathname.startsWith("/media/fleet/") ? h("a", { href: `/lineage/${encodeURIComponent(id)}` }, "from the severity back to the frames") : h("code", {}, `autorisk lineage ${id}`));

  function said(clip, reason) {
    if (!reason) return [h("h3", {}, "What was said"), unmade("reason_outputs", clip.video)];
    const parts = [h("p", { class: "reasoner" }, reason.reasoner_words)];
    if (reason.other_file) parts.push(h("p", { class: "notice" }, "This was said of another file of this clip: it was cut anew since. Run the video again."));
    if (reason.outcome !== "severity") {
      parts.push(h("h3", {}, `Not judged: ${reason.outcome_words}`), h("p", {}, reason.error ?? "No cause was recorded."));
      if (reason.raw_text) parts.push(h("details", {}, h("summary", {}, "The answer as it came"), h("pre", {}, reason.raw_text)));
      return parts;
    }
    const text = (title, value) => [h("h3", {}, title), h("p", {}, value || "Not stated.")];
    parts.push(...text("What happens", reason.causal_reasoning));
    if (reason.hazards?.length) parts.push(h("h3", {}, "Hazards"), h("ul", { class: "hazards" }, reason.hazards.map((hazard) => h("li", {}, h("b", {}, hazard.type ?? ""), ` ${(hazard.actors ?? []).join(", ")}`, hazard.spatial_relation ? h("span", {}, hazard.spatial_relation) : null))));
    parts.push(...text("What comes next", reason.short_term_prediction), ...text("What to do", reason.recommended_action));
    return parts;
  }

  const evidence = (reason) => (reason?.evidence?.length ? [h("h3", {}, "Evidence"), h("ul", { class: "evidence" }, reason.evidence.map((line) => h("li", {}, line)))] : []);

  function derivation(clip) {
    const verdict = clip.verdict;
    if (!verdict) return [unmade("corrected_severities", clip.video)];
    return [
      h("p", { class: "steps" }, h("span", {}, "Reasoner: ", badge(verdict.raw)), h("span", { "aria-hidden": "true" }, "→"), h("span", {}, verdict.rule ? `rule ${verdict.rule}: ` : "no rule fired: ", badge(verdict.severity))),
      verdict.rule ? h("p", { class: "note" }, `${verdict.rule}: ${verdict.rule_words ?? "its thresholds are those of a profile that is no longer there"}.`) : null,
      h("dl", { class: "facts-list" }, verdict.read.map(([name, value]) => fact(name, value)), fact("rule set", verdict.rule_set)),
    ];
  }

  function nearMisses(clip, stage) {
    if (clip.missing.includes("near_miss_events")) return [unmade("near_miss_events", clip.video)];
    if (!clip.misses.length) return [h("p", {}, "None.")];
    const heard = { confirmed: "confirmed by the verifier", rejected: "rejected by the verifier", failed: "the verifier failed: stays an alarm", not_run: "no verifier was heard: stays an alarm" };
    return [h("ul", { class: "event-list" }, clip.misses.map((event) => {
      const check = event.verification;
      const why = [check.reason_category, check.rationale, check.error].filter(Boolean).join(": ");
      return h("li", {}, h("button", { type: "button", class: "link", onclick: () => stage.seek(event.start_sec) }, clock(event.timestamp_sec, 2)), ` ${event.actors}, risk ${event.risk_level} ${event.risk_score === null ? "" : event.risk_score.toFixed(2)}`, event.evidence ? h("small", {}, h("br"), event.evidence) : null, h("small", {}, h("br"), `${heard[check.outcome]}${why ? `. ${why}` : ""}`));
    }))];
  }

  /* The clip with the road users drawn over it, in step with the video. */
  function player(clip) {
    const stage = { parts: [], drawCharts: [], video: null, moved: [] };
    stage.seek = (seconds) => {
      if (!stage.video) return;
      stage.video.currentTime = Math.max(0, seconds - clip.start);
      stage.video.scrollIntoView({ block: "nearest" });
    };
    if (!clip.shareable) {
      stage.parts.push(unmade("shareable_clips", clip.video));
      return stage;
    }
    if (!clip.urls.footage) {
      stage.parts.push(h("p", { class: "unmade" }, "The clip's file is not in the media store. Make it again: materialise ", h("code", {}, "mined_clips"), " and what follows for ", h("code", {}, clip.video), "."));
      return stage;
    }
    const video = h("video", { controls: true, playsinline: true, preload: "metadata", src: clip.urls.footage, "aria-label": `Footage of clip ${clip.id}` });
    const canvas = h("canvas", { "aria-hidden": "true" });
    const box = h("div", { class: "stage" }, video, canvas);
    const wanted = h("input", { type: "checkbox", checked: true });
    stage.video = video;
    stage.parts.push(box);
    const tools = h("div", { class: "tools" });
    if (clip.tracks === null) stage.parts.push(unmade("tracks", clip.video));
    else if (clip.size) {
      tools.append(h("label", {}, wanted, `draw ${counted(clip.tracks.length, "road user")} over the clip`));
      const paint = () => overlay(canvas, video, clip, wanted.checked);
      const tick = () => { paint(); if (video.isConnected && !video.paused) request(); };
      const request = () => (video.requestVideoFrameCallback ? video.requestVideoFrameCallback(tick) : requestAnimationFrame(tick));
      wanted.addEventListener("change", paint);
      ["loadeddata", "seeked", "play", "pause"].forEach((name) => video.addEventListener(name, tick));
      new ResizeObserver(paint).observe(box);
    }
    if (clip.urls.annotated) tools.append(h("a", { href: clip.urls.annotated }, "annotated copy"));
    tools.append(h("a", { href: clip.urls.footage }, clip.hidden_by ? "clip file" : "evidence file"));
    if (clip.hidden_by) tools.append(h("span", { class: "note" }, `faces and number plates hidden (${clip.hidden_by.replace("_", " ")})`));
    if (clip.urls.report) tools.append(h("a", { href: clip.urls.report }, "report of the whole video"));
    stage.parts.push(tools);
    ["timeupdate", "seeked"].forEach((name) => video.addEventListener(name, () => stage.moved.forEach((tell) => tell(clip.start + video.currentTime))));
    return stage;
  }

  const HELD_SEC = 0.25; // a box is joined to the next one of its track up to this gap, and held for half of it
  function overlay(canvas, video, clip, wanted) {
    const ratio = devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    if (!wanted || !video.videoWidth) return;
    /* The picture keeps its shape inside the element: find where it lies. */
    const scale = Math.min(width / clip.size[0], height / clip.size[1]);
    const [left, top] = [(width - clip.size[0] * scale) / 2, (height - clip.size[1] * scale) / 2];
    const at = clip.start + video.currentTime;
    pen.font = "600 12px system-ui, sans-serif";
    for (const [id, label, color, times, boxes] of clip.tracks) {
      const found = boxAt(times, boxes, at);
      if (!found) continue;
      const [x1, y1, x2, y2] = found.map((value, side) => value * scale + (side % 2 ? top : left));
      pen.strokeStyle = color;
      pen.lineWidth = 2;
      pen.strokeRect(x1, y1, x2 - x1, y2 - y1);
      const text = `${label} #${id}`;
      const wide = pen.measureText(text).width + 8;
      pen.fillStyle = color;
      pen.fillRect(x1 - 1, Math.max(0, y1 - 17), wide, 17);
      pen.fillStyle = "#fff";
      pen.fillText(text, x1 + 3, Math.max(13, y1 - 4));
    }
  }

  function boxAt(times, boxes, at) {
    let low = 0, high = times.length;
    while (low < high) { const middle = (low + high) >> 1; if (times[middle] <= at + 1e-3) low = middle + 1; else high = middle; }
    const before = low - 1;
    if (before < 0) return null;
    const here = boxes.slice(4 * before, 4 * before + 4);
    const gap = low < times.length ? times[low] - times[before] : Infinity;
    if (gap > HELD_SEC) return at - times[before] <= HELD_SEC / 2 ? here : null;
    const share = (at - times[before]) / gap;
    return here.map((value, side) => value + share * (boxes[4 * low + side] - value));
  }

  function contact(clip, stage) {
    if (!clip.ttc) return [unmade("clip_ttc", clip.video)];
    const found = clip.ttc;
    const parts = [h("p", {}, `Lowest: ${found.words}${found.label ? `, ${found.label} #${found.track} at ${clock(found.at)}` : ""}. Critical road users: ${found.critical ?? "cannot say"}.`)];
    if (!found.tracks.length) return [...parts, h("p", { class: "unmade" }, "No time to contact under 20 s was measured in this clip: there is nothing to draw.")];
    const area = h("div", { class: "plot-area", role: "img", "aria-label": `Time to contact of ${counted(found.tracks.length, "road user")} over the clip` });
    parts.push(h("figure", { class: "plot" }, area, h("figcaption", {}, "With its 90 % interval; choose a point to see it in the clip.")));
    const names = new Map((clip.tracks ?? []).map(([id, label]) => [id, label]));
    const capped = (value, edge) => (value === null || value === "inf" ? edge : Math.min(20, Math.max(0.1, value)));
    const data = [];
    for (const [id, color, times, values, lows, highs] of found.tracks) {
      const name = `${plain(names.get(id) ?? "track")} #${id}`;
      const breaks = times.map((time, n) => n > 0 && time - times[n - 1] > 0.5);
      const cut = (list, map) => list.flatMap((value, n) => (breaks[n] ? [null, map(value)] : [map(value)]));
      data.push(
        { x: cut(times, (v) => v), y: cut(lows, (v) => capped(v, 0.1)), mode: "lines", line: { width: 0 }, hoverinfo: "skip", showlegend: false, connectgaps: false },
        { x: cut(times, (v) => v), y: cut(highs, (v) => capped(v, 20)), mode: "lines", line: { width: 0 }, fill: "tonexty", fillcolor: `${color}26`, hoverinfo: "skip", showlegend: false, connectgaps: false },
        { x: cut(times, (v) => v), y: cut(values, (v) => capped(v, 20)), name, mode: "lines+markers", line: { color, width: 2 }, marker: { size: 4 }, hovertemplate: `%{x:.2f} s · ${name} · %{y:.2f} s<extra></extra>` },
      );
    }
    if (typeof found.min === "number") data.push({ x: [found.at], y: [capped(found.min, 20)], name: "lowest", mode: "markers", marker: { symbol: "diamond", size: 12, color: "#c8372d" }, hovertemplate: "lowest: %{y:.2f} s<extra></extra>" });
    const layout = { height: 280, margin: { l: 52, r: 12, t: 8, b: 44 }, hovermode: "closest", legend: { orientation: "h", y: 1.02, yanchor: "bottom" }, xaxis: { title: { text: "time in the video (s)" }, range: [clip.start, clip.end], zeroline: false }, yaxis: { title: { text: "time to contact (s)" }, type: "log", range: [-1, Math.log10(20)], tickvals: [0.1, 0.2, 0.5, 1, 2, 5, 10, 20], ticktext: ["0.1", "0.2", "0.5", "1", "2", "5", "10", "20"] } };
    stage.drawCharts.push(async () => {
      const Plotly = await Charts.draw(area, data, layout);
      if (!Plotly) return;
      area.on("plotly_click", (event) => stage.seek(event.points[0].x));
      stage.moved.push((seconds) => area.isConnected && Plotly.relayout(area, { shapes: [{ type: "line", xref: "x", yref: "paper", x0: seconds, x1: seconds, y0: 0, y1: 1, line: { color: getComputedStyle(area).color, width: 1.5 } }] }));
    });
    return parts;
  }

  /* Plotly reads a few HTML tags in text. */
  const plain = (text) => text.replace(/[&<>]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[c]);

  function signals(row, clip) {
    const axes = [["audio", row.audio], ["motion", row.motion], ["proximity", row.proximity], ["fused score", row.fused], ["near-miss risk", row.risk]].filter(([, value]) => value !== null);
    const table = h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Signal"), h("th", { scope: "col" }, "This clip"))), h("tbody", {}, [["audio", row.audio], ["motion", row.motion], ["proximity", row.proximity], ["fused score", row.fused], ["near-miss risk", row.risk]].map(([name, value]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, value === null ? (name === "near-miss risk" && !clip.missing.includes("near_miss_events") ? "no near miss" : "not measured") : value.toFixed(2))))));
    if (axes.length < 3) return [table];
    const area = h("div", { class: "plot-area", role: "img", "aria-label": `Signals: ${axes.map(([name, value]) => `${name} ${value.toFixed(2)}`).join(", ")}` });
    const closed = [...axes, axes[0]];
    const data = [{ type: "scatterpolar", r: closed.map(([, value]) => value), theta: closed.map(([name]) => name), fill: "toself", line: { color: "#3b82f6" }, hovertemplate: "%{theta}: %{r:.2f}<extra></extra>" }];
    const layout = { height: 260, margin: { l: 60, r: 60, t: 30, b: 30 }, showlegend: false, polar: { radialaxis: { range: [0, 1], tickvals: [0.25, 0.5, 0.75, 1], angle: 90, tickangle: 90 }, angularaxis: {} } };
    queueMicrotask(() => Charts.draw(area, data, layout));
    return [area, table];
  }

  function checklist(clip) {
    if (clip.checklist === null) return [unmade("explanation_checklist", clip.video)];
    if (!clip.checklist.length) return [h("p", {}, "Nothing to check: the clip was not judged.")];
    const held = (value) => (value === null ? "cannot be checked" : value ? "holds" : "does not hold");
    return [h("ul", { class: "plain-list" }, clip.checklist.map((item) => h("li", {}, h("b", {}, item.item.replaceAll("_", " ")), `: ${held(item.holds)}`, item.evidence ? h("small", {}, h("br"), item.evidence) : null)))];
  }

  function votes(clip, reason) {
    if (!reason) return [unmade("reason_outputs", clip.video)];
    const parts = [];
    if (reason.votes.length) parts.push(h("ul", { class: "plain-list" }, reason.votes.map(([temperature, severity], n) => h("li", {}, `answer ${n + 1} (temperature ${temperature}): `, badge(severity)))), h("p", { class: "note" }, `Margin ${reason.vote_margin?.toFixed(2) ?? "not measured"}`));
    if (reason.letters.length) parts.push(h("dl", { class: "facts-list" }, reason.letters.map(([name, value]) => fact(`probability of ${name}`, value.toFixed(3)))));
    parts.push(h("p", {}, reason.confidence === null ? "Confidence: not measured by this reasoner." : `Measured confidence: ${reason.confidence.toFixed(2)}`));
    if (!reason.votes.length) parts.push(h("p", { class: "unmade" }, "One answer: no votes were taken."));
    return parts;
  }

  /* What people said, what the queue asks of them, and which severities the judge leaves open. */
  const GIVEN = { confirm: "confirmed", change: "changed it to", not_a_hazard: "no hazard:", dismiss: "cannot be judged" };
  function review(clip) {
    const { queue, verdicts, label, disputed } = clip.review;
    const when = (one) => [one.time, one.shown && `shown ${one.shown}`, one.output_changed && "on an output that is another one now"].filter(Boolean).join(" · ");
    const said = (one) => h("li", {}, h("b", {}, one.reviewer), ` ${GIVEN[one.verdict]} `, one.severity && badge(one.severity), h("small", {}, h("br"), when(one)), one.note ? h("small", {}, h("br"), `“${one.note}”`) : null);
    const outcome = clip.review.clip_changed ? ["The clip was cut anew since: no verdict counts. Look at it again."] : disputed ? ["The reviewers disagree: no label counts."] : label ? ["Label that counts: ", badge(label)] : ["It gives no label."];
    const parts = verdicts.length ? [h("ul", { class: "plain-list" }, verdicts.map(said)), h("p", {}, outcome)] : [h("p", {}, "Nobody reviewed this clip (", h("code", {}, "autorisk review"), ").")];
    if (!clip.review.queue_made) return [...parts, unmade("review_queue", clip.video)];
    if (!queue || !queue.of_this) return [...parts, h("p", { class: "notice" }, "The review queue is of another clip or severity than there is now: materialise ", h("code", {}, "review_queue"), " again.")];
    const share = queue.coverage === null ? "the share of clips that its profile asked for" : `${Math.round(100 * queue.coverage)} % of clips`;
    const set = queue.set_calibrated ? [`Made to hold the truth for ${share}.`] : ["Not calibrated: all four, for want of blind labels (", h("code", {}, "correction_parameters"), ")."];
    return [
      ...parts,
      h("p", {}, `Place ${queue.position} in the queue of its video, ${queue.state}: ${queue.must_review ? "must be reviewed." : "the policy asks for no review."}`),
      queue.reasons.length ? h("ul", { class: "reasons" }, queue.reasons.map((reason) => h("li", {}, reason))) : null,
      h("p", {}, "Severity set: ", queue.set.map((severity) => [badge(severity), " "])),
      h("p", { class: "note" }, set, ` A label saves ${queue.label_value} in the units of the profile's costs.`),
    ].filter(Boolean);
  }

  /* Clips of which the like was said; the nearest were found when the site was made. */
  function likeThis(row) {
    const name = document.body.dataset.similar;
    const side = h("div", { id: "similar" });
    if (!name) {
      side.append(h("p", { class: "unmade" }, "Not made: no embedding model is configured (", h("code", {}, "AUTORISK_EMBEDDING_MODEL"), ")."));
      return side;
    }
    const link = ([n, cosine]) => { const other = index.row(n); return h("li", {}, h("a", { href: `#${encodeURIComponent(other.id)}` }, other.id), " ", badge(other.severity), h("small", {}, ` ${other.of.name}, ${clock(other.start)} to ${clock(other.end)} · cosine ${cosine.toFixed(2)}`)); };
    Site.chunk(name).then((all) => {
      const flat = all[row.number], pairs = flat.flatMap((value, n) => (n % 2 ? [] : [[value, flat[n + 1]]]));
      side.append(pairs.length ? h("ul", { class: "plain-list" }, pairs.map(link)) : h("p", { class: "unmade" }, "None: nothing was said of this clip, or there is no other."), h("p", { class: "note" }, `By the meaning of what was said, with ${place("embedder").content.textContent}.`));
    }, (error) => Site.failed(side, error));
    return side;
  }

  function saliency(clip) {
    const found = clip.saliency;
    if (!found) return [unmade("saliency_maps", clip.video)];
    if (found.reason) return [h("p", { class: "unmade" }, `Not measured: ${found.reason}.`)];
    if (found.withheld) return [withheld(clip)];
    if (!found.url) return [h("p", { class: "unmade" }, "Its picture is not in the media store. Materialise ", h("code", {}, "saliency_maps"), " again.")];
    return [h("div", { class: "films" }, h("img", { src: found.url, alt: `Where in the picture ${found.severity} rests on, over time` })), h("p", { class: "note" }, `${found.severity}, by ${found.model_id}; strongest at ${clock(found.peak_sec)}.`)];
  }

  function films(clip, name, asset) {
    const rows = clip[name];
    if (rows === null) return [unmade(asset, clip.video)];
    if (!rows.length) return [h("p", {}, "None for this clip.")];
    const parts = rows.map((row) => {
      const title = h("h4", {}, row.scenario, " ", h("span", { class: "synthetic" }, "Synthetic"));
      if (row.withheld) return h("div", {}, title, withheld(clip));
      if (!row.url) return h("div", {}, title, h("p", { class: "unmade" }, row.error ?? (row.outcome === "generated" ? "Its file is no longer in the media store: swept when its time was over, or lost." : `No video: ${row.outcome.replace("_", " ")}.`)));
      return h("div", {}, title, h("video", { controls: true, playsinline: true, loop: true, preload: "metadata", src: row.url, "aria-label": `Synthetic video: ${row.scenario}` }), h("p", { class: "note" }, [`Made by ${row.model_id ?? row.world_model}`, row.contact ? `predicted contact ${row.contact}${row.between ? ` (${row.between})` : ""}` : null, row.hidden_by ? "faces and number plates hidden" : null].filter(Boolean).join("; ")), row.prompt ? h("details", {}, h("summary", {}, "Prompt"), h("p", {}, row.prompt)) : null);
    });
    const both = rows.find((row) => row.comparison)?.comparison;
    return [h("p", { class: "note" }, "Synthetic videos say so in every picture, in their file's tags and in its C2PA content credential, which any C2PA reader shows."), h("div", { class: "films" }, parts), both ? h("p", {}, h("a", { href: both }, "original, danger and safe side by side")) : null];
  }

  function follow() {
    const wanted = decodeURIComponent(location.hash.slice(1));
    if (wanted.startsWith("video=")) {
      filter.set("video", wanted.slice(6));
      list(0);
      if (shown.length) show(index.columns.id[shown[0]]);
    } else if (wanted) show(wanted);
    else if (shown.length) show(index.columns.id[shown[0]]);
    else place("clip").replaceChildren(h("div", { class: "empty" }, h("h2", {}, "No clip"), h("p", {}, "Nothing was mined yet, or the filters let nothing through.")));
  }
  addEventListener("hashchange", () => {
    follow();
    if (matchMedia("(max-width: 900px)").matches) place("clip").scrollIntoView();
    place("clip").focus({ preventScroll: true });
  });
  list(0);
  follow();
})();

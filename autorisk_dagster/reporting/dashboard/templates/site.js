/* What every page's scripts share: chunks of data, elements, words, filters, pages of a list.
   Text from the data only ever becomes text: nothing here parses HTML. */
"use strict";
const Site = (() => {
  const waiting = new Map();
  const loaded = new Map();

  /* A chunk calls this: a page opened from a folder may load scripts, but may not fetch. */
  window.autorisk = (name, value) => waiting.get(name)?.(value);

  function chunk(name, folder = "data") {
    if (!loaded.has(name)) {
      loaded.set(name, new Promise((done, fail) => {
        const script = document.createElement("script");
        waiting.set(name, (value) => { waiting.delete(name); done(value); });
        script.src = `${folder}/${name}.js`;
        script.onload = () => script.remove();
        script.onerror = () => { loaded.delete(name); fail(new Error(`${script.src} is not there. The site was made anew: load the page again.`)); };
        document.head.append(script);
      }));
    }
    return loaded.get(name);
  }

  /* An element; attributes that are null or false are left out, children that are null too. */
  function h(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value === null || value === undefined || value === false) continue;
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
    return element;
  }

  const SHAPES = {
    HIGH: ["path", { d: "M8 1.5 15.2 14H.8z", fill: "currentColor" }],
    MEDIUM: ["path", { d: "M8 1 15 8 8 15 1 8z", fill: "currentColor" }],
    LOW: ["circle", { cx: 8, cy: 8, r: 6, fill: "currentColor" }],
    NONE: ["circle", { cx: 8, cy: 8, r: 5.5, fill: "none", stroke: "currentColor", "stroke-width": 2 }],
    "NOT JUDGED": ["path", { d: "M3 3h10v10H3z", fill: "none", stroke: "currentColor", "stroke-width": 2, "stroke-dasharray": "3 2" }],
  };
  function badge(severity, large = false) {
    const name = severity ?? "NOT JUDGED";
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const [tag, attributes] = SHAPES[name];
    const shape = document.createElementNS("http://www.w3.org/2000/svg", tag);
    Object.entries(attributes).forEach(([key, value]) => shape.setAttribute(key, value));
    svg.setAttribute("class", "icon");
    svg.setAttribute("viewBox", "0 0 16 16");
    svg.setAttribute("aria-hidden", "true");
    svg.append(shape);
    return h("span", { class: `badge ${name.toLowerCase().replace(" ", "-")}${large ? " large" : ""}` }, svg, name);
  }

  function clock(seconds, decimals = 1) {
    const ticks = Math.round(seconds * 10 ** decimals);
    const whole = Math.floor(ticks / 10 ** decimals), rest = ticks % 10 ** decimals;
    const pad = (number) => String(number).padStart(2, "0");
    const hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
    return `${hours ? `${hours}:${pad(minutes)}` : minutes}:${pad(whole % 60)}${decimals ? `.${String(rest).padStart(decimals, "0")}` : ""}`;
  }
  const ttc = (value) => (value === null ? "cannot say" : value === "inf" ? "nothing approaches" : `${value.toFixed(1)} s`);
  const counted = (number, one, many = `${one}s`) => `${number || "no"} ${number === 1 ? one : many}`;

  /* The list of all clips: columns in the chunk, a row by its number. */
  async function clips() {
    const { videos, clips } = await chunk(document.body.dataset.index);
    const names = Object.keys(clips);
    const row = (number) => ({ ...Object.fromEntries(names.map((name) => [name, clips[name][number]])), number, of: videos[clips.video[number]] });
    return { videos, columns: clips, size: clips.id.length, row };
  }

  const LEVELS = ["HIGH", "MEDIUM", "LOW", "NONE", "NOT JUDGED"];

  /* The form of filters, the same on two pages; `holds(number)` says whether a clip is wanted. */
  function filters(form, index, changed) {
    const c = index.columns;
    const select = (name, text, options) => h("label", { class: "field" }, text, h("select", { name }, options.map(([value, shown]) => h("option", { value }, shown))));
    const present = (column) => [...new Set(c[column])].filter((value) => value !== null).sort();
    const named = new Map(index.videos.map((video) => [video.id, video]));
    form.append(
      h("fieldset", {}, h("legend", {}, "Severity"), LEVELS.map((level) => h("label", {}, h("input", { type: "checkbox", name: "severity", value: level, checked: true }), level.toLowerCase()))),
      select("video", "Video", [["", "all"], ...index.videos.map((video) => [video.id, video.name])]),
      select("rule", "Rule", [["", "any"], ["none", "no rule fired"], ...present("rule").map((rule) => [rule, rule])]),
      select("label", "Label", [["", "any"], ["some", "labelled"], ["none", "not labelled"], ["differs", "label differs"], ...LEVELS.slice(0, 4).map((level) => [level, `labelled ${level}`])]),
      select("raised", "Mined by", [["", "any signal"], ...present("raised_by").map((signal) => [signal, signal])]),
      h("label", { class: "check" }, h("input", { type: "checkbox", name: "misses" }), "with a near miss"),
    );
    form.addEventListener("change", changed);
    form.addEventListener("submit", (event) => event.preventDefault());
    const field = (name) => form.elements[name];
    return {
      set(name, value) { field(name).value = value; },
      holds() {
        const levels = new Set([...form.querySelectorAll("[name=severity]:checked")].map((box) => box.value));
        const video = field("video").value, rule = field("rule").value, label = field("label").value, raised = field("raised").value;
        const misses = field("misses").checked, wanted = named.get(video);
        return (n) =>
          levels.has(c.severity[n] ?? "NOT JUDGED") &&
          (!wanted || index.videos[c.video[n]] === wanted) &&
          (!rule || (c.rule[n] ?? "none") === rule) &&
          (!raised || c.raised_by[n] === raised) &&
          (!misses || c.misses[n] > 0) &&
          (!label || (label === "some" ? c.label[n] !== null : label === "none" ? c.label[n] === null : label === "differs" ? c.label[n] !== null && c.label[n] !== c.severity[n] : c.label[n] === label));
      },
    };
  }

  /* Buttons to turn the pages of a list. */
  function pager(nav, page, pages, turn) {
    nav.replaceChildren();
    if (pages < 2) return;
    const button = (text, to) => h("button", { type: "button", disabled: to < 0 || to >= pages, onclick: () => turn(to) }, text);
    nav.append(button("Previous", page - 1), h("span", {}, `page ${page + 1} of ${pages}`), button("Next", page + 1));
  }

  const picture = (url) => (url ? h("img", { src: url, alt: "", loading: "lazy", width: 88, height: 50 }) : h("span", { class: "no-picture", "aria-hidden": "true" }));

  function failed(place, error) {
    place.textContent = error.message;
    place.setAttribute("role", "alert");
  }

  return { chunk, h, badge, clock, ttc, counted, clips, filters, pager, picture, failed };
})();

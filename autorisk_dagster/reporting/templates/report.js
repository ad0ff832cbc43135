/* Draws the figures when they come near the screen, in the page's colours, and ties them to the clips. */
"use strict";
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const coarse = matchMedia("(pointer: coarse)").matches;
  const printing = matchMedia("print");

  function colors() {
    const style = getComputedStyle(document.documentElement);
    const value = (name) => style.getPropertyValue(name).trim();
    return printing.matches
      ? { ink: "#1b2430", line: "#d5dbe2" }
      : { ink: value("--ink-2"), line: value("--line") };
  }

  function themed(layout) {
    const { ink, line } = colors();
    const axis = { color: ink, gridcolor: line, linecolor: line, tickcolor: line };
    return {
      ...layout,
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: "system-ui, sans-serif", size: 12, color: ink },
      xaxis: { ...layout.xaxis, ...axis },
      yaxis: { ...layout.yaxis, ...axis },
      dragmode: coarse ? false : "zoom",
    };
  }

  const drawn = new Map();

  function draw(figure) {
    if (drawn.has(figure) || typeof Plotly === "undefined") return;
    const { data, layout } = JSON.parse(figure.querySelector("script").textContent);
    const area = figure.querySelector(".plot-area");
    drawn.set(figure, layout);
    Plotly.newPlot(area, data, themed(layout), { displayModeBar: false, responsive: true });
    area.on("plotly_click", (event) => seek(figure, event.points[0].x));
  }

  function seek(figure, seconds) {
    const card = figure.closest("article");
    if (!card || figure.dataset.figure.startsWith("tracks")) return;
    const video = shown(card);
    if (!video) return;
    video.currentTime = Math.max(0, seconds - Number(card.dataset.start));
    video.scrollIntoView({ block: "nearest", behavior: "smooth" });
  }

  function shown(card) {
    const choice = card.querySelector("input[type=radio]:checked");
    return card.querySelector(choice ? `video.${choice.value}` : "video");
  }

  /* A line in the time-to-contact figure that follows the clip. */
  function follow(card, video) {
    const figure = card.querySelector('figure[data-figure^="ttc"]');
    if (!figure || !drawn.has(figure)) return;
    const at = Number(card.dataset.start) + video.currentTime;
    const line = { type: "line", xref: "x", yref: "paper", x0: at, x1: at, y0: 0, y1: 1, line: { color: colors().ink, width: 1 } };
    Plotly.relayout(figure.querySelector(".plot-area"), { shapes: [...(drawn.get(figure).shapes || []), line] });
  }
  document.querySelectorAll("article video").forEach((video) => {
    ["timeupdate", "seeked"].forEach((name) => video.addEventListener(name, () => follow(video.closest("article"), video)));
  });

  const figures = [...document.querySelectorAll("figure[data-figure]")];
  const near = new IntersectionObserver(
    (entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => draw(entry.target)),
    { rootMargin: "300px" },
  );
  figures.forEach((figure) => near.observe(figure));

  /* The other footage goes on where this one stood. */
  document.querySelectorAll(".player").forEach((player) => {
    player.addEventListener("change", () => {
      const [annotated, original] = ["annotated", "original"].map((name) => player.querySelector(`video.${name}`));
      const now = shown(player);
      const before = now === annotated ? original : annotated;
      const wasPlaying = !before.paused;
      before.pause();
      now.currentTime = before.currentTime;
      if (wasPlaying) now.play();
    });
  });

  /* A printed page shows everything. */
  function recolor() {
    drawn.forEach((layout, figure) => Plotly.relayout(figure.querySelector(".plot-area"), themed(layout)));
  }
  dark.addEventListener("change", recolor);
  addEventListener("beforeprint", () => {
    document.querySelectorAll("details").forEach((details) => (details.open = true));
    figures.forEach(draw);
    recolor();
  });
  addEventListener("afterprint", recolor);
})();

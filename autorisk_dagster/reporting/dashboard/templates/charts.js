/* Charts in the page's colours. Plotly is loaded after the page is there, when the first chart comes near the screen. */
"use strict";
const Charts = (() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const coarse = matchMedia("(pointer: coarse)").matches;
  const drawn = new Map();
  let plotly = null;

  function library() {
    plotly ??= new Promise((done, fail) => {
      const script = document.createElement("script");
      script.src = document.body.dataset.plotly;
      script.onload = () => done(window.Plotly);
      script.onerror = () => fail(new Error("The charts' library is not beside the page."));
      document.head.append(script);
    });
    return plotly;
  }

  function themed(layout) {
    const style = getComputedStyle(document.documentElement);
    const ink = style.getPropertyValue("--ink-2").trim(), line = style.getPropertyValue("--line").trim();
    const axis = { color: ink, gridcolor: line, linecolor: line, tickcolor: line };
    const polar = layout.polar ? { polar: { ...layout.polar, bgcolor: "rgba(0,0,0,0)", radialaxis: { ...layout.polar.radialaxis, ...axis }, angularaxis: { ...layout.polar.angularaxis, ...axis } } } : {};
    return {
      ...layout,
      ...polar,
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: "system-ui, sans-serif", size: 12, color: ink },
      xaxis: { ...layout.xaxis, ...axis },
      yaxis: { ...layout.yaxis, ...axis },
      dragmode: coarse ? false : "zoom",
    };
  }

  async function draw(area, data, layout) {
    const Plotly = await library();
    if (!area.isConnected) return null;
    drawn.set(area, layout);
    await Plotly.newPlot(area, data, themed(layout), { displayModeBar: false, responsive: true });
    return Plotly;
  }

  async function embedded(figure) {
    const { data, layout } = JSON.parse(figure.querySelector("script").textContent);
    const area = figure.querySelector(".plot-area");
    if (area.clientWidth < 480) {
      // A phone: the legend stands in rows above the chart, and few numbers fit under it.
      if (layout.showlegend !== false && data.filter((one) => one.name && one.showlegend !== false).length > 1) layout.height += 80;
      layout.xaxis = { ...layout.xaxis, nticks: 4, tickangle: 0 };
    }
    area.style.minHeight = `${layout.height}px`;
    await draw(area, data, layout);
    area.on("plotly_click", (event) => {
      const clip = event.points[0].customdata;
      if (figure.dataset.figure === "timeline" && typeof clip === "string") location.href = `clips.html#${encodeURIComponent(clip)}`;
    });
  }

  const near = new IntersectionObserver(
    (entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => { near.unobserve(entry.target); embedded(entry.target); }),
    { rootMargin: "300px" },
  );
  const watch = () => document.querySelectorAll("figure[data-figure]").forEach((figure) => near.observe(figure));
  /* After the first paint: Plotly is large. */
  if (document.readyState === "complete") watch();
  else addEventListener("load", () => setTimeout(watch));

  dark.addEventListener("change", async () => {
    if (!drawn.size) return;
    const Plotly = await library();
    drawn.forEach((layout, area) => (area.isConnected ? Plotly.relayout(area, themed(layout)) : drawn.delete(area)));
  });

  return { draw, library, themed };
})();

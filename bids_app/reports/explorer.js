(() => {
  "use strict";
  const INK = "#1f2933", LINE = "#dde2e7";
  // Plotly reads a little HTML in its labels; text from a data set must stay text.
  const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  // Buttons are named one by one: Plotly's own set has one that sends the data to a server.
  const options = (buttons) => ({ responsive: true, displaylogo: false, plotlyServerURL: "", modeBarButtons: [buttons] });
  const FLAT = options(["toImage", "zoom2d", "pan2d", "resetScale2d"]);
  const SOLID = options(["toImage", "orbitRotation", "pan3d", "resetCameraDefault3d"]);
  const base = (extra) => ({ font: { color: INK, family: "system-ui, sans-serif", size: 13 }, paper_bgcolor: "#fff", plot_bgcolor: "#fff", margin: { l: 60, r: 20, t: 30, b: 55 }, ...extra });
  const axis = (title) => ({ title: { text: plain(title) }, gridcolor: LINE, zerolinecolor: LINE, linecolor: "#9aa5b1", automargin: true });

  document.querySelectorAll("[data-projection]").forEach((box) => {
    const data = JSON.parse(box.querySelector("script").textContent);
    const [view, colour] = box.querySelectorAll("select");
    const plot = box.querySelector(".plotly-box");
    const many = data.ids.length > 3000;

    const draw = () => {
      const { axes, labels } = data.views[view.value];
      const kind = axes.length === 3 ? "scatter3d" : many ? "scattergl" : "scatter";
      const by = data.columns[colour.value];
      const hover = data.ids.map((id, i) => [id, ...data.columns.map((c) => (c.values[i] === null ? null : `${c.name}: ${c.values[i]}`)).filter((t) => t !== null)].map(plain).join("<br>"));
      const pick = (rows) => {
        const points = { x: rows.map((i) => data.coordinates[axes[0]][i]), y: rows.map((i) => data.coordinates[axes[1]][i]) };
        if (axes.length === 3) points.z = rows.map((i) => data.coordinates[axes[2]][i]);
        return { type: kind, mode: "markers", text: rows.map((i) => hover[i]), hovertemplate: "%{text}<extra></extra>", ...points };
      };
      const all = data.ids.map((_, i) => i);
      const size = axes.length === 3 ? 5 : many ? 5 : 9;
      const edge = { width: 0.6, color: "#fff" };
      const traces = [];
      if (by && by.kind === "category") {
        const shapes = axes.length === 3 ? ["circle", "square", "diamond", "cross", "x"] : ["circle", "square", "diamond", "triangle-up", "cross", "x", "star"];
        by.levels.forEach((level, k) => {
          const rows = all.filter((i) => (by.values[i] === null ? "(missing)" : by.values[i]) === level.name);
          if (rows.length) traces.push({ ...pick(rows), name: `${plain(level.name)} (n = ${rows.length})`, marker: { size, color: level.colour, symbol: shapes[k % shapes.length], line: edge } });
        });
      } else {
        const rows = by ? all.filter((i) => by.values[i] !== null) : all;
        const marker = { size, color: "#0072B2", line: edge };
        if (by) Object.assign(marker, { color: rows.map((i) => by.values[i]), colorscale: "Cividis", colorbar: { title: { text: plain(by.name) }, thickness: 14 } });
        traces.push({ ...pick(rows), name: `n = ${rows.length}`, marker });
        const rest = by ? all.filter((i) => by.values[i] === null) : [];
        if (rest.length) traces.push({ ...pick(rest), name: `missing (n = ${rest.length})`, marker: { size, color: "#cbd2d9", line: edge } });
      }
      const legend = { orientation: "h", y: -0.2, yanchor: "top", x: 0 };
      const layout = axes.length === 3
        ? base({ scene: { xaxis: axis(labels[0]), yaxis: axis(labels[1]), zaxis: axis(labels[2]) }, legend, showlegend: true, margin: { l: 0, r: 0, t: 40, b: 60 } })
        : base({ xaxis: axis(labels[0]), yaxis: axis(labels[1]), legend, showlegend: true, hovermode: "closest", margin: { l: 60, r: 20, t: 40, b: 110 } });
      window.Plotly.newPlot(plot, traces, layout, axes.length === 3 ? SOLID : FLAT);
    };
    view.addEventListener("change", draw);
    colour.addEventListener("change", draw);
    draw();
  });

  document.querySelectorAll("[data-profile]").forEach((box) => {
    const data = JSON.parse(box.querySelector("script").textContent);
    const [many] = box.querySelectorAll("select");
    const plot = box.querySelector(".plotly-box");
    const draw = () => {
      const rows = data.regions.slice(0, Number(many.value));
      const height = Math.max(320, 130 + 15 * rows.length);
      plot.style.height = `${height}px`;
      const hover = rows.map((region, i) => data.latents.map((latent, k) => `${plain(region)}<br>latent ${plain(latent)}<br>r = ${data.rho[i][k]}<br>family-wise p = ${data.p[i][k] ?? "not computed"}`));
      const trace = { type: "heatmap", z: data.rho.slice(0, rows.length), x: data.latents.map(plain), y: rows.map(plain), text: hover, hovertemplate: "%{text}<extra></extra>", zmin: -data.limit, zmax: data.limit, colorscale: data.scale, colorbar: { title: { text: "correlation r" }, thickness: 14 }, xgap: 1, ygap: 1 };
      window.Plotly.newPlot(plot, [trace], base({ height, xaxis: { ...axis("latent"), type: "category" }, yaxis: { automargin: true, autorange: "reversed", dtick: 1, tickfont: { size: 11 } } }), FLAT);
    };
    many.addEventListener("change", draw);
    draw();
  });
})();

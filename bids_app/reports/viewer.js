(() => {
  "use strict";

  const unpack = async (text, kind) => {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new kind(await new Response(stream).arrayBuffer());
  };

  // Axis that runs across and up in every plane; the left of the picture is the left of the brain.
  const PLANES = { axial: [0, 1, 2], coronal: [0, 2, 1], sagittal: [1, 2, 0] };
  const LETTER = ["x", "y", "z"];

  document.querySelectorAll("[data-viewer]").forEach(async (box) => {
    const data = JSON.parse(box.querySelector("script").textContent);
    const said = box.querySelector("output");
    if (typeof DecompressionStream === "undefined") {
      said.textContent = "This browser is too old for the slice viewer; the pictures above show the same maps.";
      return;
    }
    const [nx, ny] = data.shape;
    const grey = await unpack(data.grey, Uint8Array);
    const regions = await unpack(data.regions, Uint16Array);
    const select = box.querySelector("select");
    const slider = box.querySelector("input[type=range]");
    const scale = box.querySelector(".scale");
    const at = data.shape.map((n) => Math.floor(n / 2));
    const voxel = (p) => p[0] + nx * (p[1] + ny * p[2]);
    const mm = (axis) => Math.round(data.affine[axis].slice(0, 3).reduce((s, a, i) => s + a * at[i], data.affine[axis][3]));
    const figures = [...box.querySelectorAll("canvas")].map((canvas) => {
      const [across, up, through] = PLANES[canvas.dataset.plane];
      const [width, height] = [data.shape[across], data.shape[up]];
      const small = document.createElement("canvas");
      [small.width, small.height] = [width, height];
      [canvas.width, canvas.height] = [width * 4, height * 4];
      return { canvas, small, across, up, through, width, height, label: canvas.nextElementSibling };
    });

    // One scale for all three planes where they stand side by side.
    box.querySelector(".planes").style.setProperty("--columns", figures.map((f) => `${f.width}fr`).join(" "));

    const colour = (map, value, low) => {
      if (value === null || Math.abs(value) < low || value === 0) return null;
      const share = (value - map.from) / (map.to - map.from || 1);
      const rgb = data.scales[map.scale][Math.max(0, Math.min(63, Math.round(63 * share)))];
      // Weak regions let the brain shine through, as in the pictures above.
      return [...rgb, Math.min(0.9, 0.25 + (1.3 * Math.abs(value)) / Math.max(Math.abs(map.from), Math.abs(map.to)))];
    };

    const draw = () => {
      const map = data.maps[select.value];
      const low = (Number(slider.value) / 100) * Math.max(Math.abs(map.from), Math.abs(map.to));
      const colours = map.values.map((value) => colour(map, value, low));
      for (const f of figures) {
        const pen = f.small.getContext("2d");
        const pixels = pen.createImageData(f.width, f.height);
        const p = [0, 0, 0];
        p[f.through] = at[f.through];
        for (let v = 0; v < f.height; v++) for (let u = 0; u < f.width; u++) {
          p[f.across] = u;
          p[f.up] = v;
          const i = voxel(p), g = grey[i], r = regions[i], c = r ? colours[r - 1] : null;
          const o = 4 * ((f.height - 1 - v) * f.width + u);
          for (let k = 0; k < 3; k++) pixels.data[o + k] = c ? c[3] * c[k] + (1 - c[3]) * g : g;
          pixels.data[o + 3] = 255;
        }
        pen.putImageData(pixels, 0, 0);
        const big = f.canvas.getContext("2d");
        big.drawImage(f.small, 0, 0, f.canvas.width, f.canvas.height);
        big.strokeStyle = "rgba(255,255,255,.55)";
        const x = (at[f.across] + 0.5) * 4, y = (f.height - at[f.up] - 0.5) * 4;
        big.beginPath();
        big.moveTo(x, 0); big.lineTo(x, f.canvas.height);
        big.moveTo(0, y); big.lineTo(f.canvas.width, y);
        big.stroke();
        big.fillStyle = "#fff";
        big.font = "bold 22px sans-serif";
        const ends = f.canvas.dataset.plane === "sagittal" ? ["back", "front"] : ["L", "R"];
        big.fillText(ends[0], 8, 26);
        big.fillText(ends[1], f.canvas.width - 8 - big.measureText(ends[1]).width, 26);
        f.label.textContent = `${f.canvas.dataset.plane}, ${LETTER[f.through]} = ${String(mm(f.through)).replace("-", "−")} mm`;
      }
      const r = regions[voxel(at)];
      const value = r ? map.values[r - 1] : null;
      const shown = value === null ? "no value" : `${Number(value.toPrecision(3))} ${map.unit}`;
      said.textContent = r ? `${data.names[r - 1]}: ${shown}` : "no region of the atlas here";
      const stops = data.scales[map.scale].filter((_, i) => i % 7 === 0).map((c) => `rgb(${c.join(",")})`).join(",");
      scale.textContent = "";
      const bar = document.createElement("span");
      bar.style.cssText = `display:inline-block;width:12rem;height:.8rem;margin:0 .5rem;vertical-align:middle;background:linear-gradient(to right,${stops})`;
      scale.append(Number(map.from.toPrecision(3)), bar, `${Number(map.to.toPrecision(3))} ${map.unit}`);
    };

    const move = (f, event) => {
      const frame = f.canvas.getBoundingClientRect();
      const clamp = (value, n) => Math.max(0, Math.min(n - 1, value));
      at[f.across] = clamp(Math.floor(((event.clientX - frame.left) / frame.width) * f.width), f.width);
      at[f.up] = clamp(f.height - 1 - Math.floor(((event.clientY - frame.top) / frame.height) * f.height), f.height);
      draw();
    };
    for (const f of figures) {
      f.canvas.addEventListener("pointerdown", (event) => move(f, event));
      f.canvas.addEventListener("pointermove", (event) => { if (event.buttons) move(f, event); });
      f.canvas.addEventListener("keydown", (event) => {
        const step = { ArrowLeft: [f.across, -1], ArrowRight: [f.across, 1], ArrowDown: [f.up, -1], ArrowUp: [f.up, 1], PageDown: [f.through, -1], PageUp: [f.through, 1] }[event.key];
        if (!step) return;
        event.preventDefault();
        at[step[0]] = Math.max(0, Math.min(data.shape[step[0]] - 1, at[step[0]] + step[1]));
        draw();
      });
    }
    slider.addEventListener("input", draw);

    // Start where the map is strongest: the middle of its highest region.
    const jump = () => {
      const values = data.maps[select.value].values;
      const best = values.reduce((b, v, i) => (v !== null && (b < 0 || Math.abs(v) > Math.abs(values[b])) ? i : b), -1);
      if (best < 0) return;
      let count = 0;
      const sum = [0, 0, 0];
      for (let i = 0; i < regions.length; i++) if (regions[i] === best + 1) {
        sum[0] += i % nx; sum[1] += Math.floor(i / nx) % ny; sum[2] += Math.floor(i / (nx * ny));
        count++;
      }
      if (count) sum.forEach((s, axis) => { at[axis] = Math.round(s / count); });
    };
    jump();
    draw();
    select.addEventListener("change", () => { jump(); draw(); });
  });
})();

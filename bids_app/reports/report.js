(() => {
  "use strict";

  // On a small screen the table of contents starts closed.
  const contents = document.querySelector("nav details.contents");
  if (contents && window.matchMedia("(max-width: 62rem)").matches) contents.open = false;

  // Mark the section that is being read.
  const links = new Map([...document.querySelectorAll("nav a")].map((a) => [a.getAttribute("href").slice(1), a]));
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      for (const a of links.values()) a.removeAttribute("aria-current");
      links.get(entry.target.id)?.setAttribute("aria-current", "true");
    }
  }, { rootMargin: "0px 0px -70% 0px" });
  document.querySelectorAll("main > section").forEach((s) => seen.observe(s));

  // Tables: a click on a heading sorts; a box above filters rows.
  document.querySelectorAll("table.sortable").forEach((table) => {
    const body = table.tBodies[0];
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
      const rows = [...body.rows];
      const numeric = rows.some((row) => row.cells[column].dataset.key !== undefined);
      const before = head.getAttribute("aria-sort");
      const down = before ? before === "ascending" : numeric;  // numbers: largest first
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => (numeric ? row.cells[column].dataset.key : row.cells[column].textContent);
      rows.sort((a, b) => {
        const x = key(a), y = key(b);
        if (numeric) {  // rows without a number always come last
          if (x === undefined || y === undefined) return (x === undefined) - (y === undefined);
          return down ? y - x : x - y;
        }
        return (down ? -1 : 1) * x.localeCompare(y, undefined, { numeric: true });
      });
      body.append(...rows);
    }));
    if (body.rows.length > 12) {
      const label = document.createElement("label");
      label.className = "filter";
      label.append("Show rows with ");
      const box = document.createElement("input");
      box.type = "search";
      label.append(box);
      table.closest(".scroll").before(label);
      box.addEventListener("input", () => {
        const wanted = box.value.toLowerCase();
        for (const row of body.rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
      });
    }
  });

  // Template and scan: flicker, or hold one of them.
  document.querySelectorAll("[data-flicker]").forEach((box) => {
    const buttons = [...box.querySelectorAll("button")];
    buttons.forEach((button) => button.addEventListener("click", () => {
      buttons.forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
      if (button.dataset.show === "both") delete box.dataset.shown;
      else box.dataset.shown = button.dataset.show;
    }));
  });
})();

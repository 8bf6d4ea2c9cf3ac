"""The pages in a real browser: no error, everything drawn, sorting, hovering and keys work, phones included.

A script is added to a copy of the page; it does what a reader would do and writes what it saw into the document, which
the browser then prints. Skipped where no Chromium is installed.
"""

import json
import re
import shutil
import subprocess
from importlib import resources

import numpy as np
import pytest
from sample_scans import draw_page, write_scan

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")

PROBE = """
<script>
window.addEventListener("load", async () => {
  const wait = (ms) => new Promise((done) => setTimeout(done, ms));
  const out = {};
  try { await wait(1500); %s } catch (error) { out.failure = String(error); }
  const seen = document.createElement("pre");
  seen.id = "probe";
  seen.textContent = JSON.stringify(out);
  document.body.append(seen);
});
</script></body>"""


def look(page, tmp_path, script, width=1280):
    """Open a page of a given width from the file system; returns what the script saw and the console's messages."""
    copy = tmp_path / "copy.html"
    copy.write_text(page.read_text().replace("</body>", PROBE % script))
    frame = tmp_path / "frame.html"
    frame.write_text(
        f'<body style="margin:0"><iframe src="copy.html" style="border:0;width:{width}px;height:900px"></iframe></body>'
    )
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=20000", "--enable-logging=stderr",
         f"--window-size={width},900", "--dump-dom", (copy if width > 500 else frame).as_uri(),
         *([] if width > 500 else ["--allow-file-access-from-files"])],
        capture_output=True, text=True, timeout=400, check=True,
    )  # fmt: skip
    found = re.search(r'<pre id="probe">(.*?)</pre>', done.stdout, re.S)
    assert found, "the page's scripts did not run to their end"
    seen = json.loads(found.group(1).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    assert "failure" not in seen, seen
    return seen, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.fixture(scope="module")
def group_seen(cohort, tmp_path_factory):
    return look(
        cohort / "group.html",
        tmp_path_factory.mktemp("browser"),
        """
      out.images = [...document.images].map((i) => i.complete && i.naturalWidth > 0);
      out.plots = document.querySelectorAll(".js-plotly-plot .main-svg").length;
      out.buttons = [...document.querySelectorAll(".modebar-btn")].map((b) => b.dataset.title);
      const table = document.querySelector("#lrcp-table");
      const cells = (i) => [...table.tBodies[0].rows].map((r) => r.cells[i].dataset.key);
      const column = (i) => cells(i).filter((k) => k !== undefined).map(Number);
      const heads = [...table.tHead.rows[0].cells];
      const place = heads.findIndex((h) => h.textContent.startsWith("LRCP"));
      heads[place].querySelector("button").click();
      out.down = column(place);
      out.sort = heads[place].getAttribute("aria-sort");
      heads[place].querySelector("button").click();
      out.up = column(place);
      const filter = table.closest(".scroll").previousElementSibling.querySelector("input");
      filter.value = "hippocampus"; filter.dispatchEvent(new Event("input"));
      out.filtered = [...table.tBodies[0].rows].filter((r) => !r.hidden).map((r) => r.cells[0].textContent);
      const plot = document.querySelector("[data-projection] .plotly-box");
      Plotly.Fx.hover(plot, [{ curveNumber: 0, pointNumber: 0 }]);
      await wait(300);
      out.hover = [...plot.querySelectorAll(".hoverlayer .hovertext")].map((t) => t.textContent).join("|");
      const [view, colour] = document.querySelectorAll("[data-projection] select");
      out.views = [...view.options].map((o) => o.textContent);
      colour.value = [...colour.options].find((o) => o.textContent === "error").value;
      colour.dispatchEvent(new Event("change"));
      await wait(300);
      out.scale = plot.querySelectorAll(".colorbar").length;
      const viewer = document.querySelector("[data-viewer]");
      out.region = viewer.querySelector("output").textContent;
      const canvas = viewer.querySelector("canvas");
      const before = canvas.toDataURL();
      canvas.dispatchEvent(new KeyboardEvent("keydown", { key: "PageUp", bubbles: true }));
      out.moved = canvas.toDataURL() !== before;
      out.coloured = (() => {
        const d = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        let n = 0;
        for (let i = 0; i < d.length; i += 4) if (Math.abs(d[i] - d[i + 2]) > 25) n++;
        return n;
      })();
      out.focusable = [...document.querySelectorAll("a[href], button, select, input, [tabindex='0']")].length;
      const named = (e) => e.closest("label") || e.ariaLabel;
      out.untitled = [...document.querySelectorAll("select, input")].filter((e) => !named(e)).length;
    """,
    )


def test_no_message_on_the_console(group_seen):
    assert group_seen[1] == []


def test_every_image_is_loaded(group_seen):
    assert len(group_seen[0]["images"]) > 10
    assert all(group_seen[0]["images"])


def test_plots_are_drawn_and_nothing_is_sent_away(group_seen):
    assert group_seen[0]["plots"] >= 2
    assert set(group_seen[0]["buttons"]) <= {
        "Download plot as a PNG",
        "Download plot as a png",
        "Download plot",
        "Zoom",
        "Pan",
        "Reset axes",
    }


def test_table_sorts_both_ways(group_seen):
    seen = group_seen[0]
    assert seen["down"] == sorted(seen["down"], reverse=True)
    assert seen["up"] == sorted(seen["up"])
    assert len(seen["up"]) == 240
    assert seen["sort"] == "descending"


def test_table_filters(group_seen):
    assert set(group_seen[0]["filtered"]) == {
        "Hippocampus_L",
        "Hippocampus_R",
        "ParaHippocampal_L",
        "ParaHippocampal_R",
    } or set(group_seen[0]["filtered"]) == {"Hippocampus_L", "Hippocampus_R"}


def test_hover_names_the_participant(group_seen):
    assert re.search(r"sub-\d+", group_seen[0]["hover"])
    assert "diagnosis: " in group_seen[0]["hover"]


def test_views_and_colours(group_seen):
    assert {"PCA: 1 and 2", "PCA: in 3D", "t-SNE: 1 and 2", "UMAP: 1 and 2"} <= set(group_seen[0]["views"])
    assert group_seen[0]["scale"] == 1


def test_viewer_starts_at_the_strongest_region_and_moves(group_seen, cohort):
    import pandas as pd

    from bids_app.reports.sections_regions import split_values

    table = pd.read_csv(cohort / "group" / "lrcp_regions.tsv", sep="\t")
    first = table[table["contrast"] == table["contrast"][0]]
    best = first["name"].iloc[np.nanargmax(split_values(first).abs())]
    assert group_seen[0]["region"].startswith(f"{best}: ")
    assert group_seen[0]["moved"]
    assert group_seen[0]["coloured"] > 100


def test_every_control_has_a_name(group_seen):
    assert group_seen[0]["untitled"] == 0


ACCESSIBLE = """
  const rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"];
  const found = await axe.run(document, { runOnly: rules });
  out.passed = found.passes.length;
  out.broken = found.violations.map((v) => `${v.id}: ${v.nodes.length} times, first ${v.nodes[0].html.slice(0, 200)}`);
"""


def axe(page, tmp_path):
    """The page with the axe-core library in it, which checks WCAG 2.1 AA: contrast of text, names, roles, headings."""
    rules = resources.files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    copy = tmp_path / "axe.html"
    copy.write_text(page.read_text().replace("<body>", "<body><script>" + rules.replace("</", "<\\/") + "</script>", 1))
    return look(copy, tmp_path, ACCESSIBLE)[0]


def meets_wcag_aa(page, tmp_path):
    seen = axe(page, tmp_path)
    assert seen["broken"] == []
    assert seen["passed"] > 25


def test_the_group_page_meets_wcag_aa(cohort, tmp_path):
    meets_wcag_aa(cohort / "group.html", tmp_path)


def test_the_participant_page_meets_wcag_aa(two_sessions, tmp_path):
    meets_wcag_aa(two_sessions / "sub-01.html", tmp_path)


def test_text_with_markup_stays_text_in_plots(own_cohort, tmp_path):
    from changed_cohort import change

    from bids_app.reports.group import build_group_report

    marked = {"diagnosis": lambda groups: [f'<a href="https://x.org">{group}</a><b>' for group in groups]}
    change(own_cohort / "phenotype" / "cohort.tsv", **marked)
    seen, console = look(
        build_group_report(own_cohort),
        tmp_path,
        """
      const plot = document.querySelector("[data-projection] .plotly-box");
      Plotly.Fx.hover(plot, [{ curveNumber: 0, pointNumber: 0 }]);
      await wait(300);
      out.links = document.querySelectorAll('[href="https://x.org"], [*|href="https://x.org"]').length;
      out.legend = plot.querySelector(".legendtext").textContent;
      out.hover = plot.querySelector(".hoverlayer").textContent;
    """,
    )
    assert seen["links"] == 0
    assert "<a href" in seen["legend"]
    assert "<a href" in seen["hover"]
    assert console == []


NARROW = """
  out.wide = document.documentElement.scrollWidth;
  out.shown = document.documentElement.clientWidth;
  const note = { id: "probe", textContent: JSON.stringify(out) };
  parent.document.body.append(Object.assign(document.createElement("pre"), note));
"""


def test_group_page_fits_a_phone(cohort, tmp_path):
    seen, _ = look(cohort / "group.html", tmp_path, NARROW, width=390)
    assert seen["shown"] >= 370  # a scroll bar may take 15 pixels
    assert seen["wide"] <= seen["shown"]


def test_participant_page(tmp_path):
    write_scan(tmp_path, "01", verdict="look")
    page = draw_page(tmp_path)
    (tmp_path / "browser").mkdir()
    seen, console = look(
        page,
        tmp_path / "browser",
        """
      out.images = [...document.images].map((i) => i.complete && i.naturalWidth > 0);
      const above = document.querySelector(".flicker .above");
      const shown = async (which) => {
        document.querySelector(`[data-show="${which}"]`).click();
        await wait(100);
        return [getComputedStyle(above).opacity, getComputedStyle(above).animationName];
      };
      out.above = await shown("above"); out.below = await shown("below"); out.both = await shown("both");
    """,
    )
    assert console == []
    assert len(seen["images"]) == 7
    assert all(seen["images"])
    assert seen["above"] == ["1", "none"]
    assert seen["below"] == ["0", "none"]
    assert seen["both"][1] == "upper"


def test_participant_page_fits_a_phone(two_sessions, tmp_path):
    seen, _ = look(two_sessions / "sub-01.html", tmp_path, NARROW, width=390)
    assert seen["wide"] <= seen["shown"]

"""The tables of the documentation: the planner agrees with them, and the command that writes them."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from bids_app.planning.bank import Scenario
from bids_app.planning.power import TITLES, simulate_studies
from bids_app.schema.claims import OVERALL

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import calibration

ROOT = Path(__file__).parents[2]
PAGE, CLAIMS = ROOT / "docs/verdicts.md", ROOT / "bids_app/schema/claims.py"
HEADS = dict(zip(TITLES, ("separation", "beats covariates", "regions kept", "single regions"), strict=True))


def rows_of_page(page=PAGE):
    """Tables between the marks: first cell of a row -> heading -> text."""
    text = re.search(r"<!-- calibration -->(.*?)<!-- end -->", page.read_text(), re.DOTALL)[1]
    rows, heads = {}, []
    for line in filter(None, text.splitlines()):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0].startswith("patients"):
            heads = cells
        elif not cells[0].startswith("---"):
            rows[cells[0]] = dict(zip(heads, cells, strict=True))
    return rows


def share(row, head):
    return float(row[head].split("±")[0]) / 100


def least_p(row, found):
    """Smallest p, over the claims, of "the studies of the page and these have the same share" (Fisher's exact test)."""
    n, studies = int(row["studies"]), len(found)
    counts = [(share(row, head) * n, sum(one[claim] for one in found)) for claim, head in HEADS.items()]
    tables = [[[round(page), n - round(page)], [here, studies - here]] for page, here in counts]
    return min(stats.fisher_exact(table).pvalue for table in tables)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scenario", "others"),
    [
        (Scenario((15, 15), 1.2, "scattered"), ("15 + 15, 0.8 SD scattered", "30 + 30, 1.2 SD scattered")),
        (Scenario((30, 30), 0.8, "medial-temporal"), ("30 + 30, 0.8 SD scattered", "30 + 30, SD 2")),
    ],
)
def test_the_planner_agrees_with_the_tables_of_the_docs(scenario, others):
    """Within the error of both, on studies that the tables do not have; the rows of other cells are told apart."""
    found, rows = list(simulate_studies(scenario, range(100_000, 100_040))), rows_of_page()
    row = rows[calibration.name_of("power", scenario)]
    assert float(row["K"]) == pytest.approx(np.mean([one["latents"] for one in found]), abs=1)
    assert least_p(row, found) > 0.001
    for other in others:
        assert least_p(rows[other], found) < 0.001


def test_the_page_says_of_three_groups_what_the_tables_say():
    shares = [share(row, "any claim") for row in rows_of_page().values() if "any claim" in row]
    assert len(shares) == len(calibration.CELLS["three"])
    assert max(shares) == pytest.approx(OVERALL, abs=1e-9)


def invented(kind, number):
    """A study in which every third claim is supported."""
    found = {claim: float((number + place) % 3 == 0) for place, claim in enumerate(TITLES)} | {"latents": 20 + number}
    if kind == "three":
        found |= dict.fromkeys(TITLES, float(number % 8 == 0))
    return found | {"dispersion": number % 2, "planted differ": 0.5, "planted kept": 0.25}


def test_a_complete_file_is_written_to_page_and_schema_without_a_study(tmp_path):
    """All cells, and a line that was cut off with its run."""
    studies, page, claims = tmp_path / "all.jsonl", tmp_path / "verdicts.md", tmp_path / "claims.py"
    lines = [
        json.dumps(
            {"kind": kind, "cell": calibration.name_of(kind, cell), "number": number, "found": invented(kind, number)}
        )
        for kind, cells in calibration.CELLS.items()
        for cell in cells
        for number in range(200 if kind == "power" else 400)
    ]
    studies.write_text("\n".join([lines[0][:40], *lines, lines[-1][:50]]))
    text = PAGE.read_text()
    page.write_text(
        text.replace("<!-- calibration -->", "<!-- older -->\nolder\n<!-- newer -->\n\n<!-- calibration -->")
    )
    claims.write_text(CLAIMS.read_text())
    command = [sys.executable, calibration.__file__, "--out", studies, "--minutes", "0", "--write", page]
    done = subprocess.run([*command, "--claims", claims], env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = rows_of_page(page)
    assert len(rows) == sum(map(len, calibration.CELLS.values()))
    assert {int(row["studies"]) for row in rows.values()} == {200, 400}
    assert rows["30 + 30, SD 1"]["separation"] == "33.5 ± 2.4"  # 134 of 400
    assert rows["30 + 30, SD 1"]["dispersion differs"] == "50"
    assert rows["30 + 30 + 30"]["any claim"] == "12.5 ± 1.7"
    assert re.search(r"^OVERALL = 0\.125$", claims.read_text(), re.MULTILINE)
    before, after = (re.sub(r"<!-- (calibration|older) -->.*?<!-- (end|newer) -->\s*", "", one, flags=re.DOTALL)
                     for one in (text, page.read_text()))  # fmt: skip
    assert after == before
    assert "<!-- older" not in page.read_text()

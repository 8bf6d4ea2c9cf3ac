"""The pictures of the tutorial and of the README, from the demonstration's reports: ``python docs/pictures.py OUTPUT``.

Plots and brain pictures are the files that the report was made of; tables and what a script draws are photographed with
Chromium, which has to be installed.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageChops

IMAGES = Path(__file__).parent / "images"
PARTICIPANT, CONTRAST = "11", 1  # the first participant with MCI; AD-CN is the second contrast
WIDTH = 1000  # pixels
# Where a page is narrowed down to some of its elements once its scripts have drawn everything.
ONLY = """<script>addEventListener("load", () => setTimeout(() => {
document.body.replaceChildren(...document.querySelectorAll(%r)); document.body.style.padding = "10px";
dispatchEvent(new Event("resize")); }, 1500))</script></body>"""


def photograph(page: Path, width: int, height: int, only: str = "") -> Image.Image:
    """A page as Chromium shows it, or some elements of it without the empty paper below.

    Parameters
    ----------
    page : Path
        HTML.
    width, height : int
        Of the window, pixels.
    only : str
        CSS selector of what to keep.
    """
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        sys.exit("Chromium is needed to photograph the reports")
    with tempfile.TemporaryDirectory() as folder:
        copy, shot = Path(folder) / "page.html", Path(folder) / "shot.png"
        text = page.read_text(encoding="utf-8")
        copy.write_text(text.replace("</body>", ONLY % only) if only else text, encoding="utf-8")
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"]
        command += [
            "--disable-background-networking",
            f"--user-data-dir={folder}/profile",
            "--virtual-time-budget=9000",
        ]
        command += [f"--window-size={width},{height}", f"--screenshot={shot}", copy.as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=300)
        picture = Image.open(shot).convert("RGB")
    if not only:
        return picture
    bottom = ImageChops.difference(picture, Image.new("RGB", picture.size, "white")).getbbox()[3]
    return picture.crop((0, 0, width, min(bottom + 8, height)))


def keep(picture: Image.Image, name: str, width: int = WIDTH) -> None:
    """Write a picture, no wider than `width`, with 256 colours."""
    if picture.width > width:
        picture = picture.resize((width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS)
    picture.convert("RGB").quantize(256, kmeans=1, dither=Image.Dither.NONE).save(IMAGES / name, optimize=True)


def main(output: Path) -> None:
    """Make every picture anew from an output folder with both levels."""
    scan, group = output / f"sub-{PARTICIPANT}" / "figures", output / "group" / "figures"
    for desc, name in (("brainmask", "mask"), ("tissues", "tissues"), ("modulated", "modulated")):
        keep(Image.open(scan / f"sub-{PARTICIPANT}_desc-{desc}_T1w.png"), f"tutorial-{name}.png")
    keep(Image.open(group / f"group_desc-lrcpSlices{CONTRAST}_probseg.png"), "tutorial-lrcp.png")
    plots = (("explained", "explained"), (f"lrcpSplit{CONTRAST}", "split"), (f"truth{CONTRAST}", "truth"))
    for desc, name in plots:
        plot = (group / f"group_desc-{desc}_probseg.svg").read_text(encoding="utf-8")
        width, height = (1.4 * float(size) for size in re.search(r'viewBox="0 0 (\S+) (\S+)"', plot).groups())
        head, rest = plot.split("<svg ", 1)
        rest = re.sub(r'\b(width|height)="[^"]*" ', "", rest, count=2)
        plot = f'{head}<svg width="{width:.0f}" height="{height:.0f}" {rest}'
        (IMAGES / f"tutorial-{name}.svg").write_text(plot, encoding="utf-8")
    page = output / "group.html"
    keep(photograph(page, WIDTH, 3000, "#verdicts .scroll"), "tutorial-verdicts.png")
    keep(photograph(page, WIDTH, 1200, "#projections-explorer .plotly-box"), "tutorial-projection.png")
    left, height = 1240, 1400
    both = Image.new("RGB", (left + WIDTH, height), "white")
    both.paste(photograph(page, left, height))
    parts = ", ".join(f"#lrcp-{desc}{CONTRAST}" for desc in ("lrcpSaid", "lrcpSlices", "lrcpSplit"))
    both.paste(photograph(page, WIDTH, 2 * height, parts).crop((0, 0, WIDTH, height)), (left, 0))
    keep(both, "report.png", 1500)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

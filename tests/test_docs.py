"""The documentation says what the program does: options, outputs, licences, versions."""

import fnmatch
import json
import re
import sys
import tomllib
from itertools import chain
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest

from bids_app import __version__
from bids_app.bids.tables import read_dictionary
from bids_app.cli import build_parser
from bids_app.config import options
from bids_app.schema.catalogue import TABLES

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS))
import generate  # noqa: E402
from error_catalogue import error_codes  # noqa: E402


def test_every_option_is_documented():
    page = generate.options_page()
    rows = [line for line in page.splitlines() if line.startswith("| `--")]
    flags = {flag for action in build_parser()._actions for flag in action.option_strings} - {
        "-h",
        "--help",
        "--version",
    }
    assert flags == set(re.findall(r"`(--?[a-z][a-z-]*)", "\n".join(rows)))
    assert len(rows) == len(options())
    for row in rows:
        assert len(row.split("|")[3].strip()) > 15, row


def test_defaults_are_those_in_force():
    page = generate.options_page()
    for option, default in (("latent-dim", "64"), ("folds", "5"), ("atlas", "AAL2"), ("permutations", "5000")):
        assert re.search(rf"`--{option}[^|]*\| `{default}` \|", page)


def test_exit_codes_are_explained():
    text = (DOCS / "troubleshooting.md").read_text()
    for code in {0, *error_codes().values()}:
        assert re.search(rf"^\| {code} \|", text, re.M)


def test_licences_of_all_direct_dependencies_are_listed():
    page = (DOCS / "licences.md").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for requirement in chain(project["dependencies"], *project["optional-dependencies"].values()):
        name = re.match(r"[\w.-]+", requirement)[0]
        row = re.search(rf"^\| {re.escape(name)} \| (.+?) \|", page, re.M)
        assert row, f"{name} is missing: make licences"
        assert row[1] not in ("", "not installed here"), name


def test_the_generated_parts_of_the_outputs_page_are_current():
    page = (DOCS / "outputs.md").read_text()
    assert generate.outputs_page(page) == page, "make outputs"
    assert page.count("\n### `") == len(TABLES)


def test_the_limits_of_the_gate_are_current():
    page = (DOCS / "participant.md").read_text()
    assert generate.participant_page(page) == page, "make outputs"
    assert "| `FoldedShare` | up to 0.0001 | up to 0.01 |" in page
    assert "| `TIV` | 1050 to 2000 ml | 400 to 3000 ml |" in page
    assert "| `GMFraction` | 0.32 to 0.62 | never |" in page


def test_versions_agree():
    assert re.search(rf"^version: {re.escape(__version__)}$", (ROOT / "CITATION.cff").read_text(), re.M)
    assert f"## {__version__}" in (ROOT / "CHANGES.md").read_text()


@pytest.mark.parametrize(
    "page",
    [*DOCS.glob("*.md"), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGES.md"))],
    ids=lambda p: p.name,
)
def test_links_and_pictures_exist(page):
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith(("http", "generated/")):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("picture", sorted((ROOT / "docs" / "images").glob("*.svg")), ids=lambda path: path.name)
def test_drawings_are_drawings(picture):
    """A browser shows an error in place of a drawing that is no XML."""
    root = ElementTree.parse(picture).getroot()
    width, height = (float(root.attrib[side].removesuffix("pt")) for side in ("width", "height"))
    assert min(width, height) > 100
    assert root.attrib["viewBox"]


def test_commands_of_the_readme_are_understood():
    text = "".join(path.read_text() for path in (ROOT / "README.md", *DOCS.glob("*.md")))
    blocks = "\n".join(re.findall(r"```bash\n(.*?)```", text, re.S)).replace("\\\n", " ")
    commands = re.findall(
        r"(?:^|\.sif |-v /\S+ +latentatlas )(?:latentatlas )?(/\S+ /\S+ (?:participant|group).*)$", blocks, re.M
    )
    assert len(commands) > 3
    for command in commands:
        build_parser().parse_args(re.sub(r"\s#.*", "", command).replace("[", "").replace("]", "").split())


def undocumented(out: Path) -> list[str]:
    """Files of an output folder, and columns of its tables, that ``docs/outputs.md`` does not name."""
    text = (DOCS / "outputs.md").read_text()
    words = {word for word in re.findall(r"`([^`]+)`", text) if not re.fullmatch(r"<\w+>|…", word)}
    names = {name for word in words for name in _expand(word) if "." in name or name == "README"}
    keys = {word for word in words if re.fullmatch(r"\w+", word)}
    regions = {name for path in out.glob("tpl-*/anat/*_dseg.tsv") for name in pd.read_csv(path, sep="\t")["name"]}
    tables = {table.path: table for table in TABLES}
    missing = []
    for path in sorted(p for p in out.rglob("*") if p.is_file() and "figures" not in p.parts):
        name = path.relative_to(out).as_posix()
        bare = path.name if path.suffix != ".json" or path.name in names else path.stem + ".nii.gz"
        table = name.removesuffix(".json") + ".tsv"
        options = (name, path.name, "/".join(path.parts[-2:]), bare, bare.removesuffix(".nii.gz") + ".tsv", table)
        if not any(fnmatch.fnmatch(option, pattern) for option in options for pattern in names):
            missing.append(name)
        if path.suffix == ".json" and path.parent.name == "anat" and path.name.startswith("sub-"):
            missing += [f"{name}: {key}" for key in json.loads(path.read_text()) if key not in keys]
        if path.suffix == ".tsv" and path.parent.name in ("group", "phenotype"):
            found = list(pd.read_csv(path, sep="\t", nrows=1))
            known = [column.name for column in tables[name].columns]
            own = found if path.name == "cohort.tsv" else regions  # the dataset's own columns
            others = [c for c in found if not any(column.fits(c) for column in tables[name].columns)]
            missing += [f"{name}: {column}" for column in others if not tables[name].others or column not in own]
            fixed = [column for column in known if "<" not in column and column in found]
            missing += [f"{name}: order of columns"] * (fixed != [column for column in found if column in fixed])
            missing += [f"{path.stem}.json: {c}" for c in set(found) - set(read_dictionary(path)) - {*others}]
    return missing


def _expand(word: str) -> list[str]:
    """``a{b,c}`` -> ab, ac; placeholders and dots become wildcards."""
    word = re.sub(r"<\w+>|…", "*", word)
    found = re.search(r"\{([^}]+)\}", word)
    if not found:
        return [word]
    return [x for part in found[1].split(",") for x in _expand(word[: found.start()] + part + word[found.end() :])]

"""What the schema says once holds together."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bids_app.schema.catalogue import TABLES
from bids_app.schema.claims import CLAIMS, GRADES
from bids_app.schema.columns import Column, Table
from bids_app.schema.limits import RULES, USUAL
from bids_app.schema.measures import ENCODED, MEASURES, NAMED
from bids_app.schema.outputs import DATASET_FILES, GROUP_FILES, SCAN_FILES


def test_every_rule_is_about_a_known_number():
    assert {rule.key for rule in RULES} <= {measure.key for measure in MEASURES}
    assert len({rule.key for rule in RULES}) == len(RULES)
    assert len(NAMED) == len(MEASURES) + len(ENCODED)


def test_every_number_that_is_drawn_has_a_usual_range_on_its_scale():
    for measure in (*MEASURES, *ENCODED):
        if measure.scale:
            low, high = USUAL[measure.rule or measure.key]
            start, stop = measure.scale
            assert low < high
            assert start < stop
            assert measure.rule or (low < stop and high > start), measure.key


def test_no_rule_calls_a_value_usual_that_fails():
    for rule in RULES:
        assert rule.fail_low <= rule.low < rule.high <= rule.fail_high, rule.key
        assert "{:" in rule.reason


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_tables(table):
    names = [column.name for column in table.columns]
    assert len(set(names)) == len(names)
    assert re.fullmatch(r"(group|phenotype)/[a-z_]+\.tsv", table.path)
    for column in (*table.columns, *([table.others] if table.others else [])):
        assert not column.description.endswith(".")
        assert (
            column.description[0].isupper()
            or column.description[0] == "`"
            or column.description[0].isdigit()
            or (column.description.startswith("p value"))
        ), column
    assert len({each.path for each in TABLES}) == len(TABLES)


def test_placeholders_are_filled_in_dictionaries_and_headings():
    shap = Column("shap_<group>", "SHAP of <group>", header="SHAP, <group>")
    table = Table(
        "group/x.tsv", "region", (Column("name", "Name"), shap), Column("<region>", "Volume of <region>", "ml")
    )
    names = ["name", "shap_a+b", "Insula_L"]
    assert table.dictionary(names) == {
        "name": {"Description": "Name"},
        "shap_a+b": {"Description": "SHAP of a+b"},
        "Insula_L": {"Description": "Volume of Insula_L", "Units": "ml"},
    }
    assert table.headers(names) == {"shap_a+b": "SHAP, a+b"}
    assert not shap.fits("shap_")
    assert Table("group/x.tsv", "region", (shap,)).column("other") is None


def test_claims_and_grades_have_names_of_their_own():
    assert len({claim.id for claim in CLAIMS}) == len(CLAIMS) == len({claim.groups for claim in CLAIMS})
    assert len({grade.name for grade in GRADES}) == len({grade.style for grade in GRADES}) == len(GRADES)


PACKAGE = Path(__file__).parents[2] / "bids_app"
FILES = (*GROUP_FILES, *DATASET_FILES)


def _words(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Strings of a module that are one word, those that describe something left out."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and not re.search(r"\s", node.value):
            yield node.lineno, node.value


def test_no_file_of_the_output_is_named_outside_the_schema():
    """Neither whole, nor the end of a family of names (``_dseg.tsv``)."""
    names = {table.path.split("/")[-1] for table in TABLES}
    names |= {part for file in FILES for part in (re.split(r"<\w+>", file.name)[-1],) if "." in part.strip("_")}
    names |= {file.ending.split("}")[-1].strip("_") for file in SCAN_FILES.values()}
    names -= {".html", ".toml", ".txt", ".nii.gz"}
    found = [
        f"{path.relative_to(PACKAGE)}:{line}: {word}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.parent.name != "schema"
        for line, word in _words(ast.parse(path.read_text(encoding="utf-8")))
        if any(word.endswith(name) for name in names)
    ]
    # Names that other programs give to transforms and atlases, and a file of the input.
    allowed = ("bids/maps.py", "space/atlas_file.py", "_sessions.tsv", "sub-*/[ses-*/]anat/")
    assert [line for line in found if not any(part in line for part in allowed)] == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.path)
def test_the_name_of_a_file_and_what_it_stands_for_go_both_ways(file, tmp_path):
    labels = {word: f"a{n}" for n, word in enumerate(dict.fromkeys(re.findall(r"<(\w+)>", file.path)))}
    path = file.at(tmp_path, **labels)
    assert "<" not in str(path)
    assert "*" not in str(path)
    if not file.path.endswith("/"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        assert file.find(tmp_path) == [path] == file.find(tmp_path, **labels)
        assert file.label(path) == ([*labels.values()][-1] if labels else "")


def test_the_files_of_a_scan_have_names_of_their_own():
    known = list(SCAN_FILES.values())
    assert len({file.ending for file in known}) == len({(file.stem, file.on_template) for file in known}) == len(known)
    assert list(SCAN_FILES)[-1] == "modulated"  # that it is there says that all else is, too
    assert SCAN_FILES["gm_std"].stem == SCAN_FILES["gm"].stem == "label-GM_probseg"
    assert [file.kind for file in known if not file.is_image] == ["forward", "inverse"]

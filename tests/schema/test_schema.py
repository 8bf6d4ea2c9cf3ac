"""What the schema says once holds together."""

import re

import pytest

from bids_app.schema.catalogue import TABLES
from bids_app.schema.claims import CLAIMS, GRADES
from bids_app.schema.columns import Column, Table
from bids_app.schema.limits import RULES, USUAL
from bids_app.schema.measures import ENCODED, MEASURES, NAMED


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

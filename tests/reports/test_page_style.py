"""Numbers and escaping: what every page rests on."""

import math
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bids_app.reports.brain_maps import script_json
from bids_app.reports.style import esc, html_table, number, p_text


class Tags(HTMLParser):
    """Collects the tags and the text that a browser would see."""

    def __init__(self):
        super().__init__()
        self.tags, self.text = set(), []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)

    def handle_data(self, data):
        self.text.append(data)


@given(st.text(), st.text())
def test_text_of_a_table_never_becomes_markup(head, cell):
    page = Tags()
    page.feed(html_table(pd.DataFrame({head: [cell]}), sortable=True, caption=cell))
    assert page.tags <= {"div", "table", "caption", "thead", "tbody", "tr", "th", "td", "button"}


@given(st.text())
def test_data_cannot_end_the_script_they_stand_in(text):
    packed = script_json({"a": [text]})
    assert "<" not in packed
    assert ">" not in packed
    import json

    assert json.loads(packed) == {"a": [text]}


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.12345, "0.123"), (12.345, "12.3"), (1234.5, "1,234"), (-0.5, "−0.500"), (float("nan"), "–"), (None, "–"),
     (0.0, "0"),
     (0.00012, "1.2×10⁻⁴"), (36, "36"), (True, "yes"), ("text", "text"), (float("inf"), "∞")],
)  # fmt: skip
def test_numbers_as_people_write_them(value, text):
    assert number(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=1e-3, max_value=1e6))
def test_a_number_keeps_three_digits(value):
    back = float(number(value).replace(",", "").replace("−", "-"))
    assert math.isclose(back, value, rel_tol=6e-3)


def test_p_values_are_never_zero():
    assert p_text(0.0) == "< 0.001"
    assert p_text(0.0123) == "0.012"
    assert p_text(np.nan) == "–"


def test_rows_without_a_number_have_no_sort_key():
    made = html_table(pd.DataFrame({"x": [1.5, np.nan]}), sortable=True)
    assert made.count("data-key") == 1


def test_quotes_are_escaped_for_attributes():
    assert '"' not in esc('" onload="alert(1)')

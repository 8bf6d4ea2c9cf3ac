"""Every message in docs/troubleshooting.md is given by real input, and its remedy works."""

import inspect
import re
import sys
from pathlib import Path

import provoked_analysis
import provoked_inputs
import provoked_models
import provoked_runs
import pytest

from bids_app import errors

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs"))
import error_catalogue as catalogue  # noqa: E402
import generate  # noqa: E402

PROVOKED = {
    message: provoke
    for module in (provoked_inputs, provoked_analysis, provoked_models, provoked_runs)
    for cases in vars(module).values()
    if isinstance(cases, dict)
    for message, provoke in cases.items()
    if inspect.isfunction(provoke)
}
#: What takes whole runs, other machines or engines to provoke is provoked by these tests.
ELSEWHERE = provoked_runs.ELSEWHERE
DECLARED = {message.text: message for message in catalogue.declared()}


def test_the_page_is_current():
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    assert generate.troubleshooting_page(page) == page, "make outputs"


def test_every_message_has_a_cause_and_a_remedy_and_no_cause_is_left_over():
    told = {text: entry for entries in catalogue.causes().values() for text, entry in entries.items()}
    assert set(told) == set(DECLARED)
    assert sum(map(len, catalogue.causes().values())) == len(told)
    for _, rows in catalogue.topics():
        for message, why, do in rows:
            assert len(why) > 15, message
            assert do, message


def test_every_message_is_provoked_and_nothing_else():
    assert set(PROVOKED) & set(ELSEWHERE) == set()
    assert set(PROVOKED) | set(ELSEWHERE) == set(DECLARED)


@pytest.mark.parametrize("message", sorted(PROVOKED))
def test_provoke_apply_the_remedy_works(message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call, mend = PROVOKED[message](tmp_path)
    declared = DECLARED[message]
    if declared.kind == catalogue.FAILED:
        found = call()
        assert any(declared.matches(first_words(item.reason)) for item in found), found
    else:
        with pytest.raises(errors.LatentAtlasError) as caught:
            call()
        assert type(caught.value).__name__ == declared.kind
        assert declared.matches(caught.value.problem), caught.value.problem
        assert caught.value.remedy
    if mend is not None:
        instead = mend()
        left = (instead if callable(instead) else call)()
        assert declared.kind != catalogue.FAILED or not left


@pytest.mark.parametrize("message", sorted(ELSEWHERE))
def test_what_other_tests_provoke_they_look_for(message):
    """The test is there, and part of the message stands in it."""
    file, _, name = ELSEWHERE[message].partition("::")
    body = re.search(rf"def {name}\(.*?(?=\n(?:@|def )|\Z)", (ROOT / "tests" / file).read_text(), re.S)
    assert body, ELSEWHERE[message]


def first_words(reason: str) -> str:
    """A reason without the file and the remedy that follow."""
    return re.split(r"\n|: /", reason)[0]

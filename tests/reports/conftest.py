import shutil

import pytest
from sample_scans import draw_page, write_scan


@pytest.fixture(scope="session")
def cohort(analysed):
    """The output folder of a real group level, with the page that it made; tests read it, those that write copy it."""
    return analysed / "out"


@pytest.fixture(scope="session")
def planted(analysed):
    """What the simulation planted in that cohort."""
    return analysed / "maps" / "code" / "ground_truth.tsv"


@pytest.fixture
def own_cohort(cohort, tmp_path):
    """A copy of the cohort that a test may change; without the atlas, so that no map takes time to draw."""
    return shutil.copytree(
        cohort,
        tmp_path / "out",
        ignore=shutil.ignore_patterns("tpl-*", "reconstructions*", "traversals.*", "error_*", "group.html", "figures"),
    )


@pytest.fixture(scope="session")
def two_sessions(tmp_path_factory):
    """One participant with two sessions, drawn and with a page; tests only read it."""
    folder = tmp_path_factory.mktemp("participant")
    for session in ("1", "2"):
        write_scan(folder, "01", session=session)
    draw_page(folder, "01")
    return folder

"""The simulated cohort, as fixtures."""

import pytest
from cohorts import make_cohort


@pytest.fixture
def cohort():
    return make_cohort()


@pytest.fixture(scope="session")
def cohort_maker():
    return make_cohort

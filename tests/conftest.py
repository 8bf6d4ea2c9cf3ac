"""Shared by all tests: where the real scans are."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real scans named by LATENTATLAS_TEST_DATA."""
    folder = os.environ.get("LATENTATLAS_TEST_DATA")
    if not folder:
        pytest.skip("LATENTATLAS_TEST_DATA is not set")
    return Path(folder)

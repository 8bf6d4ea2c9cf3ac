"""How ``make test`` deals the tests out to its processes."""

import os

import pytest


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="one process makes everything once")
def test_what_shares_something_costly_runs_in_one_process(request):
    """Else every process would make it; xdist deals the tests out by what follows their names."""
    assert request.node.nodeid.endswith("@test_processes")

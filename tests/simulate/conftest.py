"""One small cohort for all tests of the simulation."""

import os
from types import SimpleNamespace

os.environ.setdefault("OMP_NUM_THREADS", "2")

import pytest

from bids_app.simulate.anatomy import load_anatomy
from bids_app.simulate.atrophy import DEFAULT_REGIONS, plan_atrophy
from bids_app.simulate.scan_dataset import SimulationSettings, simulate_dataset


@pytest.fixture(scope="session")
def anatomy():
    return load_anatomy()


@pytest.fixture(scope="session")
def plan(anatomy):
    return plan_atrophy(anatomy, DEFAULT_REGIONS, 0.25)


@pytest.fixture(scope="session")
def cohort(tmp_path_factory):
    """Six full-head scans at 4 mm: covers every orientation."""
    settings = SimulationSettings(n_participants=6, resolution=4.0, seed=3)
    folder = simulate_dataset(tmp_path_factory.mktemp("cohort") / "bids", settings)
    return SimpleNamespace(folder=folder, settings=settings)

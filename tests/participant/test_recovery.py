"""Atrophy planted in a simulated head is measured by the whole chain as the change that it is."""

import numpy as np
import pytest
from chain import grey_matter, regional

from bids_app.participant import inputs
from bids_app.simulate.anatomy import load_anatomy
from bids_app.simulate.atrophy import plan_atrophy
from bids_app.simulate.cohort import stream
from bids_app.simulate.head import make_head
from bids_app.simulate.scan import draw_scanner, scan_head
from bids_app.simulate.scan_dataset import SimulationSettings
from bids_app.space.templates import get_template

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def twins(tmp_path_factory):
    """One person scanned twice, noise and position alike: as she is, and with a quarter of some regions gone."""
    settings = SimulationSettings(n_participants=6, effect=0.3, resolution=1.5, full_head=False, seed=5)
    anatomy, person = load_anatomy(), settings.person(6)
    plan = plan_atrophy(anatomy, settings.regions, settings.effect)
    planted = person.change_at(0, settings.weights, settings.effect)
    template, maps, truth = get_template(resolution=2.0), [], []
    for change in (0 * planted, planted):
        folder = tmp_path_factory.mktemp("twin")
        head = make_head(anatomy, plan, person, change, person.gm_loss_at(0), settings.seed)
        rng = stream(settings.seed, person.number, "scan0")
        scanner = draw_scanner(person.number, person.site, rng)
        scan_head(head, anatomy, scanner, settings.resolution, None, rng).to_filename(folder / "t1w.nii.gz")
        t1w = inputs.load_t1w(folder / "t1w.nii.gz")
        maps.append(grey_matter(t1w, template, folder, strip="skip")[-1].gm)
        truth.append(dict(zip(head.truth["index"], head.truth["after"], strict=True)))
    index, measured = regional(template, *maps)
    true = np.array([[t[i] for i in index] for t in truth])
    return np.isin(index, plan.index), np.log(measured[1] / measured[0]), np.log(true[1] / true[0])


def test_planted_atrophy_is_measured_at_its_size(twins):
    planted, measured, true = twins
    x, y = true[planted], measured[planted]
    assert 0.8 <= np.polyfit(x, y, 1)[0] <= 1.2
    assert x @ y / (x @ x) > 0.7  # through the origin: the whole change, of which smooth warps lose a part
    assert np.corrcoef(x, y)[0, 1] > 0.8


def test_regions_without_atrophy_stay_as_they_were(twins):
    planted, measured, true = twins
    assert np.median(np.abs(measured - true)[~planted]) < 0.01
    assert np.abs(measured[~planted].mean()) < 0.015

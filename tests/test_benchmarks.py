"""The arithmetic that the benchmarks share."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm
from sklearn.decomposition import PCA

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

import calibration_networks
import recovery
import references
import scale
import session_memory

from bids_app.planning.bank import Scenario, build, draw_study, load_bank
from bids_app.planning.power import TITLES, judge_study, share_error, simulate


def test_a_line_with_an_intercept_each_group_is_that_of_least_squares():
    rng = np.random.default_rng(0)
    group, x = np.repeat([0, 1, 2], [5, 7, 9]), rng.normal(size=21)
    y = 0.3 * x + group + rng.normal(size=21)
    fitted = sm.OLS(y, np.column_stack([x, group[:, None] == [0, 1, 2]])).fit()
    found = references.fit_line(x, y, group)
    assert (found.slope, found.error) == pytest.approx((fitted.params[0], fitted.bse[0]))
    alone = sm.OLS(y, sm.add_constant(x)).fit()
    found = references.fit_line(x, y)
    assert (found.slope, found.error) == pytest.approx((alone.params[1], alone.bse[1]))
    assert references.p_value(found) == pytest.approx(alone.pvalues[1])
    assert found.r == pytest.approx(np.corrcoef(x, y)[0, 1])


def test_two_points_have_no_error():
    assert references.fit_line([1, 2], [1, 2]) is None
    assert references.fit_line([1, 1, 1], [1, 2, 3]) is None


def test_collections_are_told_by_their_names():
    assert [references.scanner(name) for name in ("ixi10", "ixi15", "old10")] == ["ixi", "ixi", "old"]


def test_components_from_inner_products_are_those_of_the_maps():
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(24, 60)) + 3
    member = np.repeat(np.eye(5), 12, axis=0)
    train = np.arange(24) % 4 > 0
    pca = PCA(4, svd_solver="full").fit(maps[train])
    expected = pca.inverse_transform(pca.transform(maps)) @ member
    latents, regions = recovery.learn(maps @ maps.T, maps @ member, np.flatnonzero(train), 4)
    np.testing.assert_allclose(regions, expected, atol=1e-8)
    np.testing.assert_allclose(np.abs(latents[:, ::-1]), np.abs(pca.transform(maps)), atol=1e-8)


def test_the_least_of_the_runs_stands_for_a_step():
    runs = [{"fit": [3.0, 1.0], "all": [9.0, 2.0]}, {"fit": [2.0, 1.5], "all": [8.0, 1.9], "new": [1.0, 0.1]}]
    assert scale.best(runs) == {"fit": [2.0, 1.0], "all": [8.0, 1.9], "new": [1.0, 0.1]}
    lines = (
        "13:17:14 latentatlas_group.fit-all: started",
        "13:17:14 agnostic-map: done",
        "13:17:14 8 of 19 steps done",
    )
    assert [bool(scale.STEP.match(line)) for line in lines] == [True, True, False]


def test_steps_of_both_versions_are_compared_and_new_ones_listed_apart():
    this = {"fit-fold0": [3.0, 1.0], "vbm": [4.0, 3.0], "fit-fold1": [3.0, 1.2], "plan": [0.2, 0.5], "all": [12.0, 3.0]}
    old = {"fit-fold0": [2.0, 2.0], "fit-fold1": [2.0, 1.0], "plan": [0.1, 0.5], "all": [11.0, 2.0]}
    assert scale.table({"1000": {"this": this, "baseline": old}}).splitlines()[2:] == [
        "| fit-folds | **6.0** (4.0) | 1.20 (2.00) |",
        "| plan | 0.2 (0.1) | 0.50 (0.50) |",
        "| together | **6.2** (4.1) | 1.20 (2.00) |",
        "| vbm (new) | 4.0 | 3.00 |",
        "| all | 12.0 (11.0) | **3.00** (2.00) |",
    ]
    alone = scale.table({"36": {"this": this}}).splitlines()
    assert alone[0] == "| step | 36 maps, s | 36 maps, GB |"
    assert "| plan | 0.2 | 0.50 |" in alone


def test_processor_time_and_memory_of_a_session_are_seen():
    """A process that works for half a second and holds 200 MB, in a child that ends before its parent."""
    work = (
        "import time; x = bytearray(b'1') * 200_000_000; t = time.process_time()\nwhile time.process_time() < t + .5: 0"
    )
    parent = f"import subprocess, sys, time; subprocess.run([sys.executable, '-c', {work!r}]); time.sleep(.5)"
    process = subprocess.Popen([sys.executable, "-c", parent], start_new_session=True)
    watch = session_memory.Watch(process.pid)
    process.wait()
    assert watch.stop() > 200e6
    used = [seconds for *_, seconds in watch.seen]
    assert 0.5 <= max(used) < 2


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """A study of 20 + 20 whose file holds the linear path in place of a network, and its number and scenario."""
    number, scenario = 7, Scenario((20, 20), 1.2)
    monkeypatch.setitem(calibration_networks.CELLS, "linear", calibration_networks.Cell("linear", scenario, 1, {}))
    bank = load_bank()
    people, coordinates = draw_study(bank, number, scenario)
    study = build(bank, scenario, people, coordinates, number)
    arrays = {
        "Z": study.latents.full,
        "Zf": study.latents.by_fold,
        "fold": study.fold,
        "ev_ae": 1 - study.error,
        "ev_linear": 1 - study.error,
        "ev_pca": 1 - study.error,
        "epochs": np.zeros(40),
        "observed": study.observed,
        "reconstructed": study.reconstructed,
        "coordinates": coordinates,
    }
    file = tmp_path / "linear-0007.npz"
    np.savez(file, **{name: value.astype(np.float32) for name, value in arrays.items()})
    return file, number, scenario, study


def test_the_file_of_a_study_is_judged_as_the_study(trained):
    file, number, scenario, study = trained
    read, shares = calibration_networks.read_trained(file, "linear", number)
    np.testing.assert_allclose(read.reconstructed, study.reconstructed, rtol=1e-5)
    assert [c.y.tolist() for c in read.contrasts] == [c.y.tolist() for c in study.contrasts]
    explained = float(1 - study.error.mean())
    assert shares == pytest.approx({"trained": 0} | dict.fromkeys(("explained", "linear", "ordinary"), explained))
    assert judge_study(read, number, scenario) == pytest.approx(simulate(number, scenario))


def test_labels_are_dealt_out_anew_within_folds(trained):
    file, number, _, study = trained
    groups = np.array(study.groups)
    again = [np.array(calibration_networks.read_trained(file, "linear", number, n)[0].groups) for n in (1, 2)]
    for labels in again:
        assert (labels != groups).any()
        for fold in range(5):
            mine = study.fold == fold
            assert sorted(labels[mine]) == sorted(groups[mine])
    assert (again[0] != again[1]).any()


def test_a_file_of_another_cohort_is_refused(trained):
    file, number, *_ = trained
    with pytest.raises(SystemExit, match="another one"):
        calibration_networks.read_trained(file, "linear", number + 1)


def test_errors_of_shares_are_between_cohorts_and_never_nothing():
    none = calibration_networks.mean_of([0.0] * 40, [*range(20)] * 2, 1)
    assert none == f"0.0 ± {100 * share_error(0, 40):.1f}"
    clustered = calibration_networks.mean_of([1.0, 1, 1, 0, 0, 0], [1, 1, 1, 2, 2, 2], 1)
    assert clustered == "50.0 ± 50.0"  # two cohorts that agree with themselves
    assert calibration_networks.mean_of([0.25, 0.75, 0.5], [1, 2, 3], 0) == f"50 ± {100 * 0.25 / np.sqrt(3):.0f}"
    assert calibration_networks.mean_of([0.5], [1], 0) == "50 ± 0"


def test_the_table_of_networks_has_a_row_for_each_labelling():
    found = dict.fromkeys(TITLES, 1.0) | {"explained": 0.25, "linear": 0.4, "ordinary": 0.3, "trained": 1.0}
    other = dict.fromkeys(TITLES, 0.0)
    judged = [("conv-null", n, found, other) for n in range(4)]
    judged += [("conv-null", n, found, None) for n in range(4) for _ in range(3)]
    judged += [("conv-effect", 0, found | {"planted differ": 0.5, "planted kept": 0.25}, other | {
        "planted differ": 0.5, "planted kept": 0.75})]  # fmt: skip
    rows = [[cell.strip() for cell in line.strip("|").split("|")]
            for line in calibration_networks.table(judged).splitlines()]  # fmt: skip
    assert {len(row) for row in rows} == {len(rows[0])}
    null, again, effect = rows[2:]
    assert null[0] == "30 + 30, SD 1: conv"
    assert null[1:5] == ["25", "40", "30", "100"]
    assert null[5].startswith("100.0 ± ")
    assert null[5].endswith(" (0.0)")
    assert again[0] == "30 + 30, SD 1, labels dealt out anew: conv"
    assert again[-1] == "12 of 4 cohorts"
    assert "(" not in again[5]
    assert effect[-3:] == ["50 ± 0 (50)", "25 ± 0 (75)", "1"]


def test_half_a_table_is_not_written(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- networks -->\nold\n<!-- end -->\n")
    script = Path(calibration_networks.__file__)
    done = subprocess.run(
        [sys.executable, script, "--studies", tmp_path, "--write", page], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "no study of conv-wide" in done.stderr
    assert "old" in page.read_text()

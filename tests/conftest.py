"""Shared by all tests: where the real scans are, and cohorts that the program itself has processed and analysed."""

import io
import json
import logging
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

#: Made once per process; some tests need both, so that whatever needs either runs in one process. Tests name them (or a
#: fixture that does) among their arguments: what they ask for while they run is not known when they are handed out.
COSTLY = {"analysed", "processed"}


@pytest.hookimpl(tryfirst=True)  # xdist reads the marks in the same hook
def pytest_collection_modifyitems(items):
    """What shares something costly runs in one process (``make test``), and the longest of it starts first."""
    for item in items:
        group = "analysed" if COSTLY & set(item.fixturenames) else item.path.stem
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: not COSTLY & set(item.fixturenames) and "workflows" not in item.path.parts)


@contextmanager
def same_environment():
    """What a run leaves in this process: thread pools and caches through the environment, and where messages go."""
    before, folder, log = dict(os.environ), tempfile.tempdir, logging.getLogger("latentatlas")
    messages = log.propagate, log.level, list(log.handlers)
    yield
    log.propagate, log.level, log.handlers = messages
    os.environ.clear()
    os.environ.update(before)
    tempfile.tempdir = folder


@pytest.fixture(autouse=True)
def _same_environment():
    with same_environment():
        yield


@pytest.fixture(scope="module", autouse=True)
def _same_environment_of_module():
    """What the module's own fixtures leave."""
    with same_environment():
        yield


@pytest.fixture(scope="session", autouse=True)
def _one_thread(request, tmp_path_factory):
    """ITK fixes its threads where it is first used, in ANTs and in Greedy: results repeat with one thread only.

    A run of the program in this process would fix as many as it was given.
    """
    if any(item.path.parent.name == "participant" for item in request.session.items):
        os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"
        import ants
        from picsl_greedy import Greedy3D

        name = str(tmp_path_factory.mktemp("itk") / "ball.nii")
        ants.image_write(ants.smooth_image(ants.from_numpy(np.pad(np.ones((8, 8, 8)), 8)), 1), name)
        Greedy3D().execute(f"-i {name} {name} -n 1 -o {name} -V 0", out=io.StringIO(), err=io.StringIO())


@pytest.fixture
def told(caplog):
    """What the program says, from information upwards, whatever a run before has set (``told.text``)."""
    logging.getLogger("latentatlas").propagate = True
    caplog.set_level(logging.INFO, logger="latentatlas")
    return caplog


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real scans named by LATENTATLAS_TEST_DATA."""
    folder = os.environ.get("LATENTATLAS_TEST_DATA")
    if not folder:
        pytest.skip("LATENTATLAS_TEST_DATA is not set")
    return Path(folder)


@pytest.fixture(scope="session")
def analysed(tmp_path_factory) -> Path:
    """The group level has run on the maps of a simulated cohort (``maps``, ``out``, ``work``); tests only read it.

    One map failed the quality gate and one asked for a look, with a reason that is markup.
    """
    from bids_app.cli import main
    from bids_app.simulate.cli import main as simulate

    root = tmp_path_factory.mktemp("group")
    cohort = "--maps-only --n-participants 49 --resolution 4 --seed 5 --effect 0.35 --quiet"
    with same_environment():
        assert simulate([str(root / "maps"), *cohort.split()]) == 0
    for label, verdict, reason in (
        ("49", "fail", "half <img src=x> is missing"),
        ("48", "look", "<b>low</b> contrast"),
    ):
        (sidecar,) = (root / "maps" / f"sub-{label}" / "anat").glob("*.json")
        judged = {"QualityVerdict": verdict, "QualityReasons": [reason]}
        sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | judged))
    command = [root / "maps", root / "out", "group", "-w", root / "work", "--group-column", "diagnosis",
               "--contrast", "AD-CN", "mmse", "--covariates", "age", "sex", "--latent-dim", "8", "--epochs", "2",
               "--folds", "3", "--permutations", "500", "--reference-group", "CN", "--site-column", "site",
               "--nprocs", "2"]  # fmt: skip
    with same_environment():
        assert main([str(c) for c in command]) == 0
    return root


@pytest.fixture(scope="session")
def processed(tmp_path_factory) -> tuple[Path, int]:
    """The participant level has run on three simulated participants and four scans that cannot be used.

    Its folder (``bids``, ``out``, ``work``) and its exit code; tests leave what they find.
    """
    from bids_app.cli import main
    from bids_app.simulate.cli import main as simulate

    root = tmp_path_factory.mktemp("scans")
    bids = root / "bids"
    with same_environment():
        assert simulate([str(bids), "--n-participants", "3", "--seed", "3", "--quiet"]) == 0
    good = next((bids / "sub-01" / "anat").glob("*_T1w.nii.gz"))
    image = nib.load(good)
    bad = {
        "truncated": lambda p: p.write_bytes(good.read_bytes()[: good.stat().st_size // 2]),
        "empty": lambda p: nib.save(nib.Nifti1Image(np.zeros(image.shape, np.float32), image.affine), p),
        "nan": lambda p: nib.save(nib.Nifti1Image(np.full(image.shape, np.nan, np.float32), image.affine), p),
        "4d": lambda p: nib.save(nib.Nifti1Image(np.ones((*image.shape, 2), np.float32), image.affine), p),
    }
    for name, make in bad.items():
        target = bids / f"sub-bad{name}" / "anat" / f"sub-bad{name}_T1w.nii.gz"
        target.parent.mkdir(parents=True)
        make(target)
        shutil.copy(good.with_name(good.name.replace(".nii.gz", ".json")), target.with_name(f"sub-bad{name}_T1w.json"))
    command = [bids, root / "out", "participant", "--sloppy", "-w", root / "work", "--nprocs", "2"]
    with same_environment():
        return root, main([str(c) for c in command])

"""Templates: grids, priors, and TemplateFlow from a local archive."""

import nibabel as nib
import numpy as np
import pytest

from bids_app.errors import ConfigError, UnavailableError
from bids_app.space import templates
from bids_app.space.template_sources import BUNDLED, parse_name
from bids_app.space.templates import get_template, isotropic_grid, res_label


def test_two_millimetre_grid():
    template = get_template(BUNDLED, 2.0)
    assert template.shape == (99, 117, 95)
    np.testing.assert_array_equal(template.affine, [[2, 0, 0, -98], [0, 2, 0, -134], [0, 0, 2, -72], [0, 0, 0, 1]])
    for image in (template.mask, template.gm, template.wm, template.csf, template.deep):
        assert image.shape == template.shape
        np.testing.assert_array_equal(image.affine, template.affine)


@pytest.mark.parametrize("resolution", [1.5, 2.0, 3.0])
def test_priors_are_probabilities_and_keep_the_volumes(resolution):
    template = get_template(BUNDLED, resolution)
    mask = np.asarray(template.mask.dataobj) > 0
    priors = np.stack([np.asarray(p.dataobj) for p in (template.gm, template.wm, template.csf)])
    assert priors.min() >= 0
    np.testing.assert_allclose(priors.sum(0)[mask], 1, atol=1e-5)
    assert priors[:, ~mask].max() == 0
    ml = resolution**3 / 1000
    assert mask.sum() * ml == pytest.approx(1886.5, rel=0.005)
    # The volumes of the files in nilearn, but for the seam round the ventricles that is given to white matter.
    assert priors[:2].sum() * ml == pytest.approx(997 + 670, rel=0.005)
    assert priors[0].sum() * ml == pytest.approx(997, rel=0.02)


def test_deep_prior_lies_where_the_nuclei_are():
    template = get_template(BUNDLED, 2.0)
    deep = np.asarray(template.deep.dataobj)

    def at(*mm):
        return deep[tuple(np.round(np.linalg.inv(template.affine) @ [*mm, 1])[:3].astype(int))]

    assert at(11, -19, 8) > 0.6  # thalamus
    assert at(-11, -19, 8) > 0.6
    assert at(20, -4, 0) > 0.6  # pallidum
    assert at(28, 0, 2) > 0.6  # putamen
    assert at(25, -35, 25) < 0.05  # white matter
    assert at(28, -20, -14) < 0.05  # hippocampus


def test_no_grey_seam_between_ventricle_and_white_matter():
    template = get_template(BUNDLED, 1.0)
    gm, wm = (np.asarray(image.dataobj) for image in (template.gm, template.wm))

    def at(data, *mm):
        return data[tuple(np.round(np.linalg.inv(template.affine) @ [*mm, 1])[:3].astype(int))]

    for x in (-1, 1):
        roof = [at(gm, 12 * x, y, z) for y in (0, -10, -20) for z in range(24, 31)]  # ventricle, wall, white matter
        assert max(roof) < 0.3
        assert at(wm, 14 * x, -10, 32) > 0.8
        assert at(gm, 12 * x, 12, 8) > 0.6  # the caudate beside the ventricle stays grey
        assert at(gm, 28 * x, -20, -14) > 0.6  # and so does the hippocampus


def test_labels_and_names():
    assert [res_label(r) for r in (2.0, 1.5, 1, 0.75, 10)] == ["2", "1p5", "1", "0p75", "10"]
    assert parse_name("MNIPediatricAsym:cohort-3:res-2") == ("MNIPediatricAsym", {"cohort": "3", "res": "2"})
    for wrong in ("MNI:foo-1", "MNI:cohort", "../etc", ""):
        with pytest.raises(ConfigError):
            parse_name(wrong)
    for resolution in (-1, 0.1, 50):
        with pytest.raises(ConfigError):
            get_template(BUNDLED, resolution)


def test_grid_covers_an_image_with_unequal_voxels():
    image = nib.Nifti1Image(np.zeros((10, 20, 30), np.float32), np.diag([1.0, 1.2, 2.0, 1]))
    affine, shape = isotropic_grid(image, 1.5)
    assert shape == (7, 16, 40)
    np.testing.assert_allclose(np.diag(affine), [1.5, 1.5, 1.5, 1])


def forget_templates():
    get_template.cache_clear()
    templates._native.cache_clear()


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """A TemplateFlow home with two made-up templates, one of them in two cohorts."""
    monkeypatch.setenv("TEMPLATEFLOW_HOME", str(tmp_path))
    monkeypatch.setenv("TEMPLATEFLOW_AUTOUPDATE", "0")
    forget_templates()
    shape, affine = (20, 24, 22), np.diag([-4.0, 4, 4, 1])
    x = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))
    r = np.sqrt((x**2).sum(0))
    maps = {
        "T1w": 100 * (r < 0.95),
        "desc-brain_mask": r < 0.8,
        "label-GM_probseg": (r > 0.5) & (r < 0.7),
        "label-WM_probseg": r <= 0.5,
        "label-CSF_probseg": r >= 0.7,
    }

    def add(name, prefix, leave_out=()):
        folder = tmp_path / f"tpl-{name}"
        if "cohort" in prefix:
            folder = folder / prefix.split("_")[0]
        folder.mkdir(parents=True, exist_ok=True)
        for suffix, data in maps.items():
            path = folder / f"tpl-{name}_{prefix}_{suffix}.nii.gz"
            if suffix in leave_out:
                path.touch()  # known to the archive, not fetched
            else:
                nib.save(nib.Nifti1Image(data.astype(np.float32), affine), path)

    add("PhantomOne", "res-01")
    add("PhantomOne", "res-02")
    add("PhantomTwo", "cohort-1_res-1")
    add("PhantomTwo", "cohort-2_res-1")
    add("PhantomThree", "res-01", leave_out=("label-GM_probseg",))
    yield tmp_path
    forget_templates()


def test_templateflow_archive(archive):
    template = get_template("PhantomOne", 4.0)
    assert template.name == "PhantomOne"
    assert template.deep is None
    assert nib.aff2axcodes(template.affine) == ("R", "A", "S")
    mask = np.asarray(template.mask.dataobj) > 0
    assert np.asarray(template.t1w.dataobj)[~mask].max() == 0
    total = sum(np.asarray(p.dataobj) for p in (template.gm, template.wm, template.csf))
    np.testing.assert_allclose(total[mask], 1, atol=1e-5)
    assert get_template("PhantomOne:res-2", 4.0).shape == template.shape


def test_cohorts(archive):
    assert get_template("PhantomTwo:cohort-2", 4.0).cohort == "2"
    with pytest.raises(ConfigError, match="several cohorts"):
        get_template("PhantomTwo", 4.0)
    with pytest.raises(UnavailableError, match="cohort"):
        get_template("PhantomTwo:cohort-9", 4.0)


def test_what_is_not_there_is_said(archive, monkeypatch):
    import requests

    with pytest.raises(UnavailableError, match="no T1w template") as caught:
        get_template("PhantomNone", 4.0)
    assert "TEMPLATEFLOW_HOME" in caught.value.remedy
    with pytest.raises(UnavailableError, match="resolution"):
        get_template("PhantomOne:res-7", 4.0)

    def offline(*args, **kwargs):
        raise requests.ConnectionError("Name or service not known")

    monkeypatch.setattr(requests, "get", offline)  # the wire, not our code
    with pytest.raises(UnavailableError, match="not cached and could not be fetched") as caught:
        get_template("PhantomThree", 4.0)
    assert "api.get('PhantomThree')" in caught.value.remedy
    assert caught.value.exit_code == 69


def test_the_bundled_template_needs_no_network(monkeypatch):
    import socket

    def no_network(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    forget_templates()
    assert get_template(templates.BUNDLED, 4.0).shape == (50, 59, 48)


def test_what_is_not_at_hand_is_not_waited_for(tmp_path, monkeypatch):
    """Pictures and measures do without a template rather than download it."""
    import socket

    def refused(*_):
        raise AssertionError("somebody asks for the network")

    monkeypatch.setattr(socket, "create_connection", refused)
    monkeypatch.setenv("TEMPLATEFLOW_HOME", str(tmp_path / "home"))
    with pytest.raises(UnavailableError, match="not cached"):
        get_template("MNI152NLin2009cAsym", 2.0, fetch=False)
    assert not (tmp_path / "home").exists()
    (tmp_path / "home" / "tpl-MNI152NLin2009cAsym").mkdir(parents=True)
    (tmp_path / "home" / "tpl-MNI152NLin2009cAsym" / "tpl-MNI152NLin2009cAsym_res-01_T1w.nii.gz").touch()
    with pytest.raises(UnavailableError, match="not cached"):
        get_template("MNI152NLin2009cAsym", 3.0, fetch=False)

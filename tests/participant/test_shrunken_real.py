"""A hippocampus shrunk by a known deformation in a real old head: registration and modulation find it."""

import numpy as np
import pytest
from chain import dlmuse_labels, first, regional
from scipy import ndimage

from bids_app.participant import bias, inputs, modulate, normalize, skullstrip, tissue, transforms
from bids_app.participant._ants import image_like
from bids_app.simulate.shrunken import fluid_by_brightness, moved, shrinking
from bids_app.space.atlas_loaders import load_atlas
from bids_app.space.templates import get_template

pytestmark = pytest.mark.real


def test_a_shrunken_hippocampus_is_found_where_it_is(real_data, tmp_path):
    path = first(real_data, "old10/sub-Subj13/anat/*_T1w.nii.gz")
    template = get_template(resolution=2.0)
    t1w = inputs.load_t1w(path)
    mask = skullstrip.extract_brain(t1w).mask
    corrected, _ = bias.correct_bias(t1w, mask)
    data, inside = np.asarray(corrected.dataobj), np.asarray(mask.dataobj) > 0
    structure = np.isin(np.asarray(dlmuse_labels(path)[0].dataobj).astype(int), (47, 48))
    velocity = shrinking([structure], fluid_by_brightness(data, inside), inside, 0.25, 2.0)
    maps, volumes = [], []
    for time in (-0.5, 0.5):
        head, part = moved(np.stack([data, structure]), velocity, time)
        image = image_like(np.where(inside, head, data), corrected)
        found = normalize.register(image, mask, template, tmp_path / str(time))
        tissues = tissue.segment(image, mask, *transforms.warp_priors(template, image, found))
        maps.append(modulate.modulate(tissues.gm, found.forward, template).gm)
        volumes.append(part.sum(dtype=np.float64) * 0.008)
    index, grey = regional(template, *maps)
    atlas = load_atlas("AAL2", template.t1w)
    hippocampus = atlas.table["index"][atlas.table["name"].str.startswith("Hippocampus")]
    chosen = np.isin(index, hippocampus)
    planted = volumes[1] - volumes[0]
    assert planted < -1.0  # ml
    assert 0.55 < (grey[1] - grey[0])[chosen].sum() / planted < 1.0
    far = ndimage.distance_transform_edt(~np.isin(np.asarray(atlas.image.dataobj), hippocampus)) * 2.0 > 30
    change = [np.asarray(m.dataobj)[far].sum(dtype=np.float64) for m in maps]
    assert change[1] == pytest.approx(change[0], rel=0.005)

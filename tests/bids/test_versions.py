"""Which versions' maps may be analysed together."""

import pytest

from bids_app import __version__
from bids_app.bids.versions import CHANGED_MAPS, generation, map_version


def test_the_last_change_is_not_newer_than_the_program():
    assert generation(CHANGED_MAPS[-1]) == generation(__version__) == len(CHANGED_MAPS)


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("0.2.0", "0.2.9", True),
        ("0.4.0", "0.4.1.dev3+g1234567", True),
        ("0.3.9", "0.4.0", False),
        ("0.4.0", "0.5.0", False),
        ("0.4.10", "0.4.9", True),
        (__version__, "99.0.0", False),  # what a version to come has changed is not known
    ],
)
def test_generations(one, other, alike):
    assert (generation(one) == generation(other)) is alike


def test_a_copied_map_is_of_the_version_that_computed_it():
    assert map_version({"LatentAtlasVersion": "0.5.0"}) == "0.5.0"
    copied = {"LatentAtlasVersion": "0.5.0", "Precomputed": True}
    assert map_version(copied) is None
    assert map_version(copied | {"SourceLatentAtlasVersion": "0.3.0"}) == "0.3.0"
    assert generation(map_version({})) is None

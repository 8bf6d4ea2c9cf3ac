"""Structures shrunk by a flow: the volume that goes is the one asked for, and fluid near by takes the room."""

import numpy as np
import pytest

from bids_app.simulate.fields import field_jacobian, integrate
from bids_app.simulate.shrunken import REACH_MM, moved, shrinking

MM = 2.0


@pytest.fixture(scope="module")
def scene():
    """Two balls in a head, and fluid on one side of each of them."""
    x, y, z = np.ogrid[:60, :60, :60]
    inside = (x - 30) ** 2 + (y - 30) ** 2 + (z - 30) ** 2 < 28**2
    balls = [(x - c) ** 2 + (y - 30) ** 2 + (z - 30) ** 2 < 5**2 for c in (18, 42)]
    fluid = ((np.abs(z - 38) < 2) & inside).astype(float)
    return inside, balls, fluid


@pytest.mark.parametrize("loss", [0.1, 0.25])
def test_a_structure_loses_most_of_what_is_asked_and_alone(scene, loss):
    inside, balls, fluid = scene
    velocity = shrinking(balls[:1], fluid, inside, loss, MM)
    larger, smaller = (moved(np.stack([*balls, inside, fluid]), velocity, time).sum((1, 2, 3)) for time in (-0.5, 0.5))
    change = smaller / larger - 1
    assert -loss < change[0] < -0.5 * loss  # its edge is soft
    np.testing.assert_allclose(change[1:3], 0, atol=0.002)  # the other ball, and the head
    assert smaller[3] > larger[3]
    # What the one loses the fluid and what lies round it gain, no farther away than said.
    density = field_jacobian(integrate(velocity))
    far = np.hypot(np.hypot(*np.ogrid[-18:42, -30:30]), 0)[..., None] * MM > REACH_MM + 10 * MM
    assert np.abs(density - 1)[np.broadcast_to(far, density.shape) & inside].max() < 0.02


def test_forth_and_back_is_where_it_was(scene):
    inside, balls, fluid = scene
    velocity = shrinking(balls, fluid, inside, 0.2, MM)
    smooth = moved(np.stack([balls[0]]), velocity, 0.0)
    there = moved(moved(smooth, velocity, 0.5), velocity, -0.5)
    assert np.abs(there - smooth).mean() < 0.002

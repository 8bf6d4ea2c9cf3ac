"""Displacement fields: against fields whose answer is known in closed form."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bids_app.simulate.fields import (
    field_jacobian,
    grid,
    integrate,
    random_velocity,
    sample,
    smooth_noise,
    velocity_of_divergence,
)


@given(st.lists(st.floats(-2, 2), min_size=4, max_size=4), st.integers(0, 100))
@settings(max_examples=20, deadline=None)
def test_sampling_a_linear_function_is_exact(coefficients, seed):
    shape = (7, 9, 8)
    slope, level = np.array(coefficients[:3]), coefficients[3]
    volume = (np.tensordot(slope, grid(shape), 1) + level).astype(np.float32)
    points = np.random.default_rng(seed).uniform(0, np.array(shape)[:, None] - 1, (3, 50)).astype(np.float32)
    np.testing.assert_allclose(sample(volume[None], points)[0], slope @ points + level, atol=1e-4)


def test_sampling_outside_gives_the_border():
    volume = np.arange(5, dtype=np.float32)[:, None, None] * np.ones((5, 4, 4), np.float32)
    points = np.array([[-3.0, 9.0], [1, 1], [1, 1]], np.float32)
    np.testing.assert_allclose(sample(volume[None], points)[0], [0, 4])


def test_jacobian_of_a_linear_map():
    rng = np.random.default_rng(0)
    matrix = np.eye(3) + rng.normal(0, 0.1, (3, 3))
    displacement = np.tensordot(matrix - np.eye(3), grid((6, 7, 8)), 1)
    np.testing.assert_allclose(field_jacobian(displacement), np.linalg.det(matrix), rtol=1e-5)


def test_flow_of_a_uniform_contraction_is_exponential():
    """v = -k (x - c) flows to x -> c + exp(-k) (x - c)."""
    shape, k = (41, 41, 41), 0.3
    offset = grid(shape) - 20
    moved = integrate((-k * offset).astype(np.float32))
    np.testing.assert_allclose(moved, (np.exp(-k) - 1) * offset, atol=0.05)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_random_flow_is_invertible(seed):
    velocity = random_velocity((40, 42, 38), 4.0, [(20, 3.0), (8, 1.0)], np.random.default_rng(seed))
    there, back = integrate(velocity), integrate(-velocity)
    assert field_jacobian(there).min() > 0.2
    middle = (slice(None), *[slice(6, -6)] * 3)
    here = grid(velocity.shape[1:])
    returned = here + there + sample(back, here + there)
    error = np.abs((returned - here)[middle])  # voxels; linear interpolation between them leaves a little
    assert error.max() < 0.2
    assert error.mean() < 0.015


def test_prescribed_divergence_is_reached():
    x = grid((48, 50, 46)) - 24
    bump = np.exp(-(x**2).sum(0) / 32) - 0.5 * np.exp(-((x - 6) ** 2).sum(0) / 32)
    velocity = velocity_of_divergence(bump.astype(np.float32))
    divergence = sum(np.gradient(velocity[axis], axis=axis) for axis in range(3))
    inside = (slice(4, -4),) * 3
    assert np.abs(divergence - (bump - bump.mean()))[inside].max() < 0.04 * bump.max()
    # curl-free
    assert np.abs(np.gradient(velocity[1], axis=0) - np.gradient(velocity[0], axis=1))[inside].max() < 3e-3


@pytest.mark.parametrize("sigma", [1.0, 2.5, (0, 2.0, 3.0, 1.5)])
def test_smooth_noise_has_unit_variance(sigma):
    shape = (4, 48, 48, 48) if isinstance(sigma, tuple) else (64, 64, 64)
    noise = smooth_noise(shape, sigma, np.random.default_rng(3))
    assert noise.std() == pytest.approx(1, abs=0.08)

"""MRIQC's measures and the marks against loops, closed forms and scipy."""

import math

import nibabel as nib
import numpy as np
import pytest
from scipy import stats

from bids_app.participant import image_quality as iq
from bids_app.participant.tissue import Tissues


@pytest.fixture(scope="module")
def sample():
    """Intensities and a tissue's fractions in eighths, so that they can be written out as repetitions."""
    rng = np.random.default_rng(1)
    return rng.normal(100, 12, (12, 11, 10)), rng.integers(0, 9, (12, 11, 10)) / 8


def test_summary_is_that_of_repeated_voxels(sample):
    data, weight = sample
    repeated = np.repeat(data.ravel(), (8 * weight.ravel()).astype(int))
    found = iq.summarise_tissue(data, weight)
    assert found.median == pytest.approx(np.quantile(repeated, 0.5, method="inverted_cdf"))
    assert found.sd == pytest.approx(repeated.std())
    assert found.n == pytest.approx(len(repeated) / 8)
    most = data[weight > 0.5]
    assert found.mad == pytest.approx(np.median(abs(most - found.median)) / stats.norm.ppf(0.75))


def test_snr_of_noise_round_a_constant(sample):
    data, _ = sample
    values = list(data.ravel())
    mean = math.fsum(values) / len(values)
    unbiased = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1))
    middle = sorted(values)[(len(values) - 1) // 2]
    n = len(values)
    # MRIQC divides sd by sqrt(n / (n - 1)) of the biased deviation, which makes it the unbiased one.
    assert iq.snr(iq.summarise_tissue(data, np.ones(data.shape))) == pytest.approx(middle / unbiased, rel=1e-9)
    assert unbiased == pytest.approx(np.std(values) * math.sqrt(n / (n - 1)))


def test_contrast_measures_of_normal_tissues():
    """Closed form: WM N(1000, 40), GM N(700, 30), air N(0, 20)."""
    rng = np.random.default_rng(2)
    shape, ones = (60, 60, 60), np.ones((60, 60, 60))
    wm, gm, air = (iq.summarise_tissue(rng.normal(m, s, shape), ones) for m, s in ((1000, 40), (700, 30), (0, 20)))
    assert iq.cnr(wm, gm, air) == pytest.approx(300 / math.sqrt(40**2 + 30**2 + 20**2), rel=0.01)
    assert iq.cjv(wm, gm) == pytest.approx((40 + 30) / 300, rel=0.01)


def test_efc_by_a_loop_and_at_its_ends(sample):
    data = sample[0][:4, :4, :4] - 100  # half of it below zero, which counts as zero
    x = [max(v, 0.0) for v in data.ravel()]
    energy = math.sqrt(math.fsum(v * v for v in x))
    entropy = -math.fsum(v / energy * math.log(v / energy) for v in x if v > 0)
    highest = -len(x) / math.sqrt(len(x)) * math.log(1 / math.sqrt(len(x)))
    assert iq.efc(data) == pytest.approx(entropy / highest)
    assert iq.efc(np.full((5, 5, 5), 3.0)) == pytest.approx(1)
    spike = np.zeros((5, 5, 5))
    spike[2, 2, 2] = 7
    assert iq.efc(spike) == pytest.approx(0, abs=1e-12)


def test_volume_fractions(sample):
    weight = sample[1]
    assert iq.icvs(weight, 2 * weight, weight) == pytest.approx([0.25, 0.5, 0.25])


def test_residual_partial_volume_by_a_loop():
    rng = np.random.default_rng(3)
    fraction = np.clip(rng.beta(0.6, 0.4, (14, 14, 14)), 0, 1)
    fraction[rng.random(fraction.shape) < 0.3] = 0
    tissue = sorted(v for v in fraction.ravel() if v > 0)

    def percentile(q):
        at = q / 100 * (len(tissue) - 1)
        low = int(at)
        return tissue[low] + (at - low) * (tissue[min(low + 1, len(tissue) - 1)] - tissue[low])

    low, high = percentile(2), percentile(98)
    total = 0.0
    for p in tissue:
        if 0.5 < p <= high:
            total += p
        elif low <= p <= 0.5:
            total += 1 - p
    assert iq.rpve(fraction) == pytest.approx(total / len(tissue))
    # Not the number of voxels round the brain.
    assert iq.rpve(np.pad(fraction, 20)) == pytest.approx(iq.rpve(fraction))


def test_marks_are_linear_between_their_limits():
    at = lambda *zooms: iq.marks(np.array(zooms), 0.1, 0.5)["ResolutionMark"]  # noqa: E731
    assert [at(0.5, 0.5, 0.5), at(1, 1, 1), at(3, 3, 3)] == pytest.approx([1, 2, 6])
    assert at(0.8, 0.8, 3.0) == pytest.approx(1 + 2 * (math.sqrt((0.64 + 0.64 + 9) / 3) - 0.5))
    assert iq.mark(0.0466, iq.NOISE_RANGE) == pytest.approx(1)
    assert iq.mark(0.3949, iq.NOISE_RANGE) == pytest.approx(6)
    assert iq.mark(9, iq.NOISE_RANGE) == 9.5
    assert iq.mark(0, iq.BIAS_RANGE) == 0.5
    found = iq.marks(np.array([1.0, 1.0, 1.2]), 0.2, 0.4)
    three = [found[f"{key}Mark"] for key in ("Resolution", "Noise", "Bias")]
    assert found["ImageQualityMark"] == pytest.approx(stats.pmean(three, 8))


def test_inhomogeneity_of_a_ramp():
    """A ramp of relative height a has the standard deviation a / sqrt(12); noise averages out."""
    x = np.linspace(-0.5, 0.5, 96)[:, None, None] * np.ones((1, 48, 48))
    noise = np.random.default_rng(4).normal(0, 50, x.shape)
    found = iq.inhomogeneity(1000 * (1 + 0.3 * x) + noise, np.ones(x.shape, bool), np.full(3, 1.0))
    assert found == pytest.approx(300 / math.sqrt(12), rel=0.03)


def test_a_head_in_air_and_a_stripped_one(head):
    image = lambda x: nib.Nifti1Image(np.asarray(x, np.float32), np.diag([2.0, 2, 2, 1]))  # noqa: E731
    csf, gm, wm = (image(f) for f in head.fractions)
    tissues, ones = Tissues(csf=csf, gm=gm, wm=wm), image(np.ones(head.data.shape))
    scan = np.abs(head.data)  # noise of a magnitude image
    found = iq.measure_image(image(scan), image(head.inside), ones, tissues, noise=10.0)
    air = iq.find_air(scan, head.inside, head.zooms, 500.0)
    assert air.sum() > 1000
    assert head.air[air].all()
    finer = lambda a: a.repeat(2, axis=0).repeat(2, axis=1).repeat(2, axis=2)  # noqa: E731
    coarse = iq.find_air(scan, head.inside, np.full(3, 1.0), 500.0)
    fine = iq.find_air(finer(scan), finer(head.inside), np.full(3, 0.5), 500.0)
    assert np.mean(fine != finer(coarse)) < 0.02  # its first slice may halve a block
    # Half-normal noise in air, sd 10 sqrt(1 - 2 / pi); the tissues' deviations hold their mixels, here from the truth.
    deviation = [np.sqrt(np.average((scan - np.average(scan, weights=w)) ** 2, weights=w)) for w in head.fractions[1:]]
    in_air = 10 * math.sqrt(1 - 2 / math.pi)
    middle = [np.median(scan[w > 0.99]) for w in head.fractions[1:]]
    expected = abs(middle[1] - middle[0]) / math.sqrt(in_air**2 + sum(d**2 for d in deviation))
    assert found["cnr"] == pytest.approx(expected, rel=0.1)
    assert found["snr_total"] == pytest.approx(np.mean([found[f"snr_{key}"] for key in iq.TISSUES]), abs=1e-3)
    assert found["NoiseMark"] == pytest.approx(1 + 5 * (10 / (middle[1] - middle[0]) - 0.0466) / 0.3483, rel=0.05)
    assert found["BiasMark"] < 1
    stripped = iq.measure_image(image(scan * head.inside), image(head.inside), ones, tissues, noise=10.0)
    assert "cnr" not in stripped
    assert stripped["cjv"] == pytest.approx(found["cjv"])

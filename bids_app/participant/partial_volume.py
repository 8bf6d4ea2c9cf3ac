"""Grey matter, white matter and fluid: a partial-volume mixture with template priors.

Every voxel is in one of a few *states*: pure fluid, grey or white matter, deep grey matter, or a mixel of two tissues
in quarters (Santago and Gage 1993; Shattuck et al. 2001). The intensity of a state is Gaussian round the mix of its
tissues' means, which vary slowly over the brain; its prior probability comes from the warped template priors and from
the tissue round about (a Potts-like field in mean-field form). The tissue maps are expected fractions, so they are
soft where tissues share a voxel and nowhere else. A voxel shared by cortex and fluid counts by its physical share:
counting it as more would put a seam of fixed width round the cortex, which grows with every sulcus that opens.

Where cortex is thin, the voxels it shares with fluid outnumber the pure ones, and the mean of grey matter would drift
towards fluid from one iteration to the next. It is therefore tied to an anchor, an intensity of the voxels where the
template has cortex and no neighbour is fluid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from bids_app.participant._grid import interpolate
from bids_app.schema.units import FWHM_TO_SIGMA

CSF, GM, WM = range(3)
DEEP = 3  # the state of deep grey matter, which counts as GM
CHUNK = 2**15  # voxels of which all states are in memory at once: some 2 MB, which a processor's cache holds

#: CSF, GM and WM: an array of (3, X, Y, Z), or three of (X, Y, Z).
Priors = np.ndarray | Sequence[np.ndarray]


@dataclass(frozen=True)
class Settings:
    """Constants of the mixture, chosen by planted change alone (docs/methods.md, "Planted change").

    Attributes
    ----------
    levels : int
        Mixel states between two tissues.
    mixing : dict
        Prior weight of mixels of a pair of tissues; it does not depend on the voxel size. Heavier ones of fluid and
        grey matter fit an unchanged brain better, but where a brain has shrunk away from the template's cortex they
        turn fluid into cortex.
    gamma, epsilon : float
        Template priors enter as (prior + epsilon) ** gamma: registration is not exact, so they are relaxed.
    beta : float
        Strength of the neighbourhood.
    anchor_weight, anchor_percentile : float
        Weight of the anchor in the mean of grey matter, beside the mean of the class's own voxels, and which percentile
        it is: somewhat below the median, because voxels away from fluid share more with white matter. On painted heads,
        whose grey matter is known, this one finds it.
    fluid_below : float
        A neighbour is fluid if its intensity is below this share of the way from fluid to white matter.
    gm_local_mm, wm_local_mm, deep_local_mm : float
        FWHM over which a tissue's mean intensity is averaged. That of white matter follows a rim under the cortex that
        is darker than the rest, as in old brains, which would otherwise pass for grey matter.
    wm_darker : float
        White matter is locally darker than its mean by no more than this share of the contrast; what is darker is
        another tissue, or a lesion.
    sd_floor, sd_gm, sd_deep : float
        Smallest standard deviation of a tissue (of fluid and white matter), and those of grey matter, which are fixed
        so that mixels rather than a wide class explain intermediate intensities. In units of the contrast between white
        and grey matter: a scan of less contrast is then measured alike.
    """

    levels: int = 3
    mixing: dict[tuple[int, int], float] = field(
        default_factory=lambda: {(CSF, GM): 0.3, (GM, WM): 1.0, (CSF, WM): 3.0}
    )
    gamma: float = 0.7
    epsilon: float = 0.03
    beta: float = 2.0
    anchor_weight: float = 0.5
    anchor_percentile: float = 40.0
    fluid_below: float = 0.15
    gm_local_mm: float = 20.0
    wm_local_mm: float = 4.0
    deep_local_mm: float = 12.0
    wm_darker: float = 0.3
    sd_floor: float = 0.2
    sd_gm: float = 0.2
    sd_deep: float = 0.16
    iterations: int = 12
    fine_iterations: int = 3
    coarse_mm: float = 2.0


class Mixture:
    """Expectation maximisation on the voxels of a mask (V of them).

    Parameters
    ----------
    data : (X, Y, Z) float array
        Intensities over the median of white matter.
    inside : (X, Y, Z) bool array
    priors : (3, X, Y, Z) array, or three of (X, Y, Z)
        CSF, GM and WM priors.
    deep : (X, Y, Z) array
        Deep grey prior, 0 to 1.
    zooms : (3,) array
        Voxel size in mm.
    settings : Settings
    guess : bool
        Find first classes in the intensities; false where :meth:`start_from` brings them.

    Attributes
    ----------
    share : (3, V) float32 array
        Expected fractions of CSF, GM and WM.
    mean, sd : (4,) array
        Intensity of the tissues, with deep grey matter at ``DEEP``.
    anchor : float
        Intensity of grey matter away from fluid.
    offset : (4, V) float32 array
        Local differences from ``mean``.
    around : (3, V) float32 array, or None before there is one
        Fractions of the neighbourhood.
    """

    around: np.ndarray | None

    def __init__(
        self,
        data: np.ndarray,
        inside: np.ndarray,
        priors: Priors,
        deep: np.ndarray,
        zooms: np.ndarray,
        settings: Settings,
        guess: bool = True,
    ) -> None:
        self.inside, self.zooms, self.settings = inside, np.asarray(zooms, dtype=float), settings
        self.y = np.ascontiguousarray(data[inside], dtype=np.float32)
        priors = np.stack([prior[inside] for prior in priors], dtype=np.float32)
        total = priors.sum(0)
        priors /= np.maximum(total, 1e-3)
        # Outside the warped template brain there can only be fluid.
        priors[:, total <= 0.05] = np.array([[1], [0], [0]], np.float32)
        self.fractions, self.pairs = _states(settings)
        # All mixels of a pair have the same prior, so it is kept once.
        self.prior_of = [CSF, GM, WM, DEEP, *(4 + list(settings.mixing).index(pair) for pair in self.pairs)]
        deep = np.clip(deep[inside], 0, 1)
        self.log_prior = self._log_prior(priors, deep)
        if guess:
            self._guess_classes(data, priors, deep)
        self.offset = np.zeros((4, self.y.size), np.float32)
        self.around = None
        # Of the posterior only what is needed later is kept: the four pure states, and the expected fractions.
        self.pure = np.zeros((4, self.y.size), np.float32)
        self.share = np.zeros((3, self.y.size), np.float32)

    def _guess_classes(self, data: np.ndarray, priors: np.ndarray, deep: np.ndarray) -> None:
        s = self.settings
        fluid = self._first_mean(priors[CSF] > 0.6, 25, 0.4)
        cortex = (priors[GM] > 0.7) & (deep < 0.05)
        away = self._darkest_neighbour(data) > fluid + s.fluid_below * (1 - fluid)
        self.anchor = self._first_mean(cortex & away, s.anchor_percentile, self._first_mean(cortex, 50, 0.75))
        self.mean = np.array([fluid, self.anchor, 1.0, 0.93])
        self.sd = np.array([0.1, 0.08, 0.05, 0.05])

    def _first_mean(self, where: np.ndarray, percentile: float, default: float) -> float:
        return float(np.percentile(self.y[where], percentile)) if np.count_nonzero(where) > 50 else default

    def _darkest_neighbour(self, data: np.ndarray) -> np.ndarray:
        """Lowest intensity of a voxel and its six neighbours; outside the mask is fluid."""
        cross = ndimage.generate_binary_structure(3, 1)
        return ndimage.minimum_filter(np.where(self.inside, data, 0), footprint=cross)[self.inside]

    def _log_prior(self, priors: np.ndarray, deep: np.ndarray) -> np.ndarray:
        s = self.settings
        relaxed = (priors + s.epsilon) ** s.gamma
        relaxed /= relaxed.sum(0)
        deep = 0.9 * deep
        cg, gw = s.mixing[CSF, GM], s.mixing[GM, WM]
        shared = (cg * relaxed[GM], cg * relaxed[CSF] + gw * relaxed[WM], gw * relaxed[GM])
        prior = np.zeros((4 + len(s.mixing), self.y.size), np.float32)
        for tissue in (CSF, GM, WM):
            prior[tissue] = relaxed[tissue] * np.maximum(1 - shared[tissue], 0.03)
        for row, (i, j) in enumerate(s.mixing, start=4):
            prior[row] = 2 * s.mixing[i, j] / s.levels * relaxed[i] * relaxed[j]
            if (i, j) == (CSF, WM):  # only round the ventricles, where the template sees no cortex
                prior[row] *= (1 - relaxed[GM]) ** 2
        prior *= 1 - deep
        prior[DEEP] = deep
        prior += np.float32(1e-8)
        return np.log(prior, out=prior)

    def run(self, iterations: int, keep_offsets: bool = False) -> None:
        """Iterate; the last iteration ends with the expected fractions."""
        for iteration in range(iterations):
            self._expect()
            if iteration == iterations - 1:
                break
            self._update_classes()
            if iteration >= 2 or keep_offsets:
                if not keep_offsets:
                    self._update_offsets()
                self._update_around()

    def _expect(self) -> None:
        for start in range(0, self.y.size, CHUNK):
            part = slice(start, start + CHUNK)
            posterior = self._posterior(part)
            self.pure[:, part] = posterior[:4]
            self.share[:, part] = self.fractions.T @ posterior

    def _posterior(self, part: slice) -> np.ndarray:
        """Probabilities of all states in some of the voxels, (S, n)."""
        log_p, y = self.log_prior[self.prior_of, part], self.y[part]
        means = self.mean[:, None].astype(np.float32) + self.offset[:, part]
        variance = self.sd**2
        if self.around is not None:
            # |f - a|^2 up to a term common to all states: |f|^2 - 2 f.a
            log_p -= self.settings.beta * (
                (self.fractions**2).sum(1)[:, None] - 2 * (self.fractions @ self.around[:, part])
            ).astype(np.float32)
        for state, fraction in enumerate(self.fractions):
            if state == DEEP:
                mean, v = means[DEEP], variance[DEEP]
            else:
                used = np.flatnonzero(fraction)
                mean = sum(fraction[k] * means[k] for k in used)
                v = float(fraction @ variance[:3])
            difference = y - mean
            if state == CSF:  # darker than fluid is fluid
                np.maximum(difference, 0, out=difference)
            elif state == WM:  # and brighter than white matter is white matter
                np.minimum(difference, self.sd[WM], out=difference)
            log_p[state] -= np.float32(0.5 / v) * difference**2 + np.float32(0.5 * np.log(v))
        log_p -= log_p.max(0)
        np.exp(log_p, out=log_p)
        log_p /= log_p.sum(0)
        return log_p

    @property
    def contrast(self) -> float:
        """Between white and grey matter, in units of the white-matter intensity; usually 0.25."""
        return float(np.clip(self.mean[WM] - self.mean[GM], 0.1, 0.4))

    def _update_classes(self) -> None:
        s = self.settings
        contrast = self.contrast
        for state in (CSF, GM, WM, DEEP):
            weight = self.pure[state]
            total = float(weight.sum(dtype=np.float64))
            if total < 20:
                continue
            self.mean[state] = float(weight @ (self.y - self.offset[state])) / total
            residual = self.y - self.offset[state] - np.float32(self.mean[state])
            floor = contrast * (s.sd_deep if state == DEEP else s.sd_floor)
            self.sd[state] = max(float(np.sqrt(weight @ residual**2 / total)), floor)
        self.mean[GM] += s.anchor_weight * (self.anchor - self.mean[GM])
        self.sd[GM] = self.contrast * s.sd_gm

    def _update_offsets(self) -> None:
        s = self.settings
        for state, fwhm, pull in ((GM, s.gm_local_mm, 0.01), (WM, s.wm_local_mm, 0.01), (DEEP, s.deep_local_mm, 0.05)):
            weight = self.pure[state]
            sigma = fwhm * FWHM_TO_SIGMA / self.zooms
            pair = [weight * (self.y - np.float32(self.mean[state])), weight]
            top, bottom = (ndimage.gaussian_filter(self.volume(x), sigma, mode="constant", truncate=3) for x in pair)
            self.offset[state] = (top / (bottom + pull))[self.inside]
        darker = np.float32(s.wm_darker * self.contrast)
        np.maximum(self.offset[WM], -darker, out=self.offset[WM])

    def start_from(self, coarse: Mixture, factors: np.ndarray) -> None:
        """Take over classes, local means and neighbourhood from a mixture on blocks of voxels."""
        self.mean, self.sd, self.anchor = coarse.mean.copy(), coarse.sd.copy(), coarse.anchor
        shape = self.inside.shape
        nearest = ndimage.distance_transform_edt(~coarse.inside, return_distances=False, return_indices=True)
        for state in (GM, WM, DEEP):
            # The nearest brain value goes on outside the mask, so that interpolation at its rim sees no zeros.
            whole = coarse.volume(coarse.offset[state])[tuple(nearest)]
            self.offset[state] = interpolate(whole, factors, shape, order=1)[self.inside]
        around = coarse.volume(coarse.share)
        self.around = np.stack(
            [interpolate(part[tuple(nearest)], factors, shape, order=1)[self.inside] for part in around]
        )

    def _update_around(self) -> None:
        """Mean of the six neighbours' fractions weighted by 1 / distance; outside the mask is fluid."""
        weight = ((1 / self.zooms) / (2 / self.zooms).sum()).astype(np.float32)
        if self.around is None:
            self.around = np.empty_like(self.share)
        for tissue in (CSF, GM, WM):
            volume = self.volume(self.share[tissue])
            if tissue == CSF:
                volume[~self.inside] = 1
            self.around[tissue] = _mean_of_neighbours(volume, weight)[self.inside]

    def volume(self, values: np.ndarray) -> np.ndarray:
        """Values of the mask's voxels (..., V) in their places."""
        return in_place(values, self.inside)


def _states(settings: Settings) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Physical tissue fractions of the states (S, 3), and the pairs of the mixels."""
    fractions, pairs = [np.eye(3)[tissue] for tissue in (CSF, GM, WM, GM)], []
    for i, j in settings.mixing:
        for share in np.arange(1, settings.levels + 1) / (settings.levels + 1):
            fraction = np.zeros(3)
            fraction[[i, j]] = 1 - share, share
            fractions.append(fraction)
            pairs.append((i, j))
    return np.array(fractions, np.float32), pairs


def in_place(values: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Voxel values (..., V) in their places, zero elsewhere."""
    volume = np.zeros((*values.shape[:-1], *inside.shape), np.float32)
    # One by one: a mask among other indices is turned into numbers of voxels, six times as large as the values.
    for part, value in zip(volume.reshape(-1, *inside.shape), values.reshape(-1, values.shape[-1]), strict=True):
        part[inside] = value
    return volume


def _mean_of_neighbours(volume: np.ndarray, weight: np.ndarray) -> np.ndarray:
    mean = np.zeros_like(volume)
    for axis in range(3):
        ahead, behind = [slice(None)] * 3, [slice(None)] * 3
        ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
        mean[tuple(behind)] += weight[axis] * volume[tuple(ahead)]
        mean[tuple(ahead)] += weight[axis] * volume[tuple(behind)]
    return mean

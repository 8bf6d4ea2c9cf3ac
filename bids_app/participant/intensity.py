"""Bring intensities to one zero and one scale: air, where no tissue is, lies at zero."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SAMPLE = 2_000_000  # voxels that are looked at, evenly over the scan
# Shares of all voxels, of those on the border of the field of view, and of the neighbours of such a voxel that have the
# very same value, where a value fills up space. Noise in whole numbers repeats itself, but not next door.
FILL_SHARE, FILL_BORDER, FILL_RUN = 0.02, 0.05, 0.8
CANDIDATES = 8  # of the most frequent values
# All that follows is in units of the range, from the darkest hundredth to the brightest fiftieth of what was measured.
DARK = 0.1  # width of the peak that air makes
AIR_SHARE = 0.15  # of the voxels lie in it; 0.28 to 0.76 in heads, 0.04 in stripped scans
AIR_BORDER = 0.4  # of what was measured on the border: fluid of a stripped scan does not reach it
CLOSE = 0.03  # a zero this far off changes nothing
RINGING = 0.01  # interpolation undershoots beside bright edges: values below the air are none of it
FLUID = 0.7  # the darkest of a brain without any air lies no higher than this above zero
STRIPPED_FLUID = 0.25  # the same above what a stripped scan is filled with; 0.07 to 0.11 in twelve
BRIGHT = (10.0, 1e5)  # usual units of scanners
SCALED_TO = 1000.0


@dataclass(frozen=True)
class Scale:
    """What was done to the intensities: ``(value - zero) * factor``.

    Attributes
    ----------
    zero : float
        Value of no signal, in the units of the file; 0 where it was right, or cannot be found.
    factor : float
        A power of two, so that nothing is rounded; 1 for the usual units of scanners.
    fill : float or None
        Value that stood where nothing was measured (stripping, defacing, padding), if that was not ``zero``.
    """

    zero: float = 0.0
    factor: float = 1.0
    fill: float | None = None

    @property
    def changed(self) -> bool:
        """Whether any value is another one now."""
        return self != Scale()


def canonical(data: np.ndarray, finite: np.ndarray | None = None) -> tuple[np.ndarray, Scale]:
    """Intensities with air at zero, as scanners measure them.

    Bias correction works on logarithms, so that an offset (of CT-like units, of z-scores) changes what it finds. A scan
    whose zero is right, and in usual units, is returned as it is.

    Parameters
    ----------
    data : (X, Y, Z) float32 array
        Intensities in any unit; not changed.
    finite : (X, Y, Z) bool array, optional
        Voxels with a value; the others become zero.

    Returns
    -------
    data : (X, Y, Z) float32 array
    scale : Scale
    """
    scale = find_scale(data, finite)
    if scale.changed:
        filled = None if scale.fill is None else data == np.float32(scale.fill)
        # Differences first: the offset may be large against the range, and is then exact in single precision.
        data = (data - np.float32(scale.zero)) * np.float32(scale.factor)
        if filled is not None:
            data[filled] = 0
    if finite is not None and not finite.all():
        data = np.where(finite, data, np.float32(0))
    return data, scale


def find_scale(data: np.ndarray, finite: np.ndarray | None = None) -> Scale:
    """Zero, factor and filling of a scan; see :func:`canonical`.

    The zero is the lower edge of the air: noise of a magnitude image is positive. Where there is no air it is the value
    that fills a stripped scan, if it lies just below the brain; else 0, if it may be the zero; else the lowest value
    that is not rare. Salt and pepper in place of air (MP2RAGE) has its lower edge at the zero, too.
    """
    step = max(1, int(np.ceil(data.size / SAMPLE)))
    values = data.ravel()[::step]  # along the last axis: every slice and row takes part
    values = values[np.isfinite(values)] if finite is None else values[finite.ravel()[::step]]
    border = np.concatenate([np.take(data, [0, -1], axis=axis).ravel() for axis in range(3)])
    fill = find_fill(data, values, border)
    measured = values if fill is None else values[values != np.float32(fill)]
    if measured.size < 1000:
        return Scale()
    lowest, low, high = (float(v) for v in np.percentile(measured, [0.01, 1, 98]))
    span = high - low
    if span <= 0:
        return Scale()
    air = measured[measured < low + DARK * span]
    border = border if fill is None else border[border != np.float32(fill)]
    if air.size > AIR_SHARE * measured.size and np.count_nonzero(border < low + DARK * span) > AIR_BORDER * border.size:
        zero = max(lowest, low - RINGING * span)
        if fill is not None and abs(fill - zero) < CLOSE * span:
            zero = fill
        if low - CLOSE * span <= 0 <= float(np.median(air)) + CLOSE * span:
            zero = 0.0  # in the midst of the air
    elif fill is not None and -CLOSE * span <= low - fill <= STRIPPED_FLUID * span:
        zero = fill
    elif -CLOSE * span <= low <= FLUID * span and (fill is None or fill <= 0 <= lowest + RINGING * span):
        zero = 0.0  # a filling far below says nothing else, where nothing measured is negative
    else:
        zero = lowest
    bright = high - zero
    factor = 1.0
    if not BRIGHT[0] <= bright <= BRIGHT[1]:
        # A damaged header may scale to hardly anything, or to all but infinity: nothing may overflow.
        largest = float(np.max(np.abs(data), where=np.isfinite(data), initial=0)) + abs(zero)
        room = min(126, int(np.floor(np.log2(np.finfo(np.float32).max) - np.log2(largest))))
        factor = 2.0 ** min(round(float(np.log2(SCALED_TO / bright))), room)
    return Scale(zero, factor, fill if fill is not None and abs(fill - zero) > 1e-6 * span else None)


def find_fill(data: np.ndarray, values: np.ndarray, border: np.ndarray) -> float | None:
    """The value that fills parts of a scan up to the border of its field of view; None where there is none.

    Parameters
    ----------
    data : (X, Y, Z) array
    values : (N,) array
        Finite values of a sample of its voxels.
    border : (M,) array
        Values on the faces of its field of view.
    """
    kinds, counts = np.unique(values, return_counts=True)
    if kinds.size < 3:
        return None
    # Air noise in whole numbers may have values that are more frequent than the filling.
    frequent = [v for v in np.argsort(counts)[: -CANDIDATES - 1 : -1] if counts[v] >= FILL_SHARE * values.size]
    plateau = float(np.percentile(values, 98))  # of a saturated scan
    step = max(1, data.shape[0] * data.shape[1] // 2000)
    lines = data.reshape(-1, data.shape[2])[::step]  # whole lines of voxels, so that neighbours are neighbours
    for value in kinds[frequent]:
        same = lines == value
        together, all_of_them = np.count_nonzero(same[:, 1:] & same[:, :-1]), np.count_nonzero(same[:, 1:])
        if value < plateau and together > FILL_RUN * all_of_them and np.mean(border == value) >= FILL_BORDER:
            return float(value)
    return None

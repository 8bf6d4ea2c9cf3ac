"""Grey matter, white matter and fluid: a partial-volume mixture with template priors."""

from __future__ import annotations

from dataclasses import dataclass, field

import nibabel as nib
import numpy as np
from scipy import ndimage

from bids_app.participant._ants import image_like

CSF, GM, WM = range(3)


@dataclass(frozen=True)
class Tissues:
    """Tissue fractions in native space, float32, 0 to 1; they sum to one in the brain mask."""

    csf: nib.Nifti1Image
    gm: nib.Nifti1Image
    wm: nib.Nifti1Image
    stats: dict = field(default_factory=dict)


@dataclass
class Params:
    levels: int = 3
    mix: float = 0.5
    gamma: float = 0.5
    eps: float = 0.02
    beta: float = 1.0
    iters: int = 20
    local_mm: float = 12.0
    local_strength: float = 1.0
    csfwm: float = 1.0
    burn: int = 5
    min_sd: float = 0.02


def states(levels):
    """Fractions (S,3) and pair code: pure CSF, GM, WM, then mixels."""
    pure = np.eye(3)
    a = np.arange(1, levels + 1) / (levels + 1)
    mixes, pairs = [], []
    for i, j in ((CSF, GM), (GM, WM), (CSF, WM)):
        for t in a:
            f = np.zeros(3)
            f[i], f[j] = 1 - t, t
            mixes.append(f)
            pairs.append((i, j))
    return np.vstack([pure, mixes]).astype(np.float32), pairs


def smooth_low(x, zooms, fwhm):
    return ndimage.gaussian_filter(x, fwhm / 2.355 / zooms, mode="constant", truncate=3)


def neighbours(vol, zooms):
    """Mean over the 6 neighbours weighted by 1/distance; vol (3,X,Y,Z)."""
    out = np.zeros_like(vol)
    w = 1 / zooms
    w = w / (2 * w.sum())
    for ax in range(3):
        s = [slice(None)] * 4
        d = [slice(None)] * 4
        s[ax + 1], d[ax + 1] = slice(1, None), slice(None, -1)
        out[tuple(d)] += w[ax] * vol[tuple(s)]
        out[tuple(s)] += w[ax] * vol[tuple(d)]
    return out


def segment_arrays(y3, inside, priors, zooms, p: Params):
    """y3 (X,Y,Z), inside bool, priors (3,X,Y,Z) csf,gm,wm -> fractions (3,X,Y,Z)"""
    box = ndimage.find_objects(inside.astype(np.uint8))[0]
    box = tuple(slice(max(0, s.start - 1), s.stop + 1) for s in box)
    full = inside.shape
    y3, inside, priors = y3[box], inside[box], priors[(slice(None), *box)]
    y = y3[inside].astype(np.float32)
    pi0 = priors[:, inside].astype(np.float32)
    s = pi0.sum(0)
    pi0 = np.where(s > 0.05, pi0 / np.maximum(s, 1e-3), np.array([[1], [0], [0]], np.float32))
    F, pairs = states(p.levels)
    # intensities scaled: initial WM median = 1
    mu = np.array([np.percentile(y[pi0[CSF] > 0.7], 30), np.median(y[pi0[GM] > 0.7]), np.median(y[pi0[WM] > 0.9])])
    scale = mu[WM]
    y, mu = y / scale, mu / scale
    sd = np.array([0.12, 0.08, 0.05])
    pi = (pi0 + p.eps) ** p.gamma
    pi /= pi.sum(0)
    logprior = np.empty((len(F), len(y)), np.float32)
    m = p.mix
    for k in range(3):
        logprior[k] = np.log(pi[k] * (1 - m) + m * pi[k] ** 2 + 1e-10)
    for t, (i, j) in enumerate(pairs):
        w = p.csfwm if (i, j) == (CSF, WM) else 1
        logprior[3 + t] = np.log(w * 2 * m * pi[i] * pi[j] / p.levels + 1e-10)
    y = np.clip(y, mu[CSF] * 0.5, None)
    off = np.zeros((3, len(y)), np.float32)
    frac3 = np.zeros((3, *inside.shape), np.float32)
    fbar = None
    for it in range(p.iters):
        var = F @ (sd**2)
        logp = logprior.copy()
        mus = mu[:, None] + off
        for st in range(len(F)):
            mean = F[st] @ mus if it > 0 else F[st] @ mu
            yy = y
            if st == CSF:
                yy = np.maximum(y, mean)  # darker than fluid is fluid
            if st == WM:
                yy = np.minimum(y, mean + 1.0 * sd[WM])
            logp[st] += -0.5 * (yy - mean) ** 2 / var[st] - 0.5 * np.log(var[st])
            if fbar is not None:
                logp[st] -= p.beta * ((F[st][:, None] - fbar) ** 2).sum(0)
        logp -= logp.max(0)
        np.exp(logp, out=logp)
        logp /= logp.sum(0)
        post = logp
        frac = F.T @ post
        # M step
        A = np.einsum("sv,si,sj->ij", post, F, F, optimize=True)
        b = F.T @ (post @ y) - np.einsum("sv,si,sj,jv->i", post, F, F, off, optimize=True)
        mu = np.linalg.solve(A, b)
        for k in range(3):
            r = y - mu[k] - off[k]
            w = post[k]
            sd[k] = max(np.sqrt((w * r**2).sum() / w.sum()), p.min_sd)
        if it >= p.burn and p.local_strength > 0:
            for k in (GM, WM):
                num, den = np.zeros((2, *inside.shape), np.float32)
                den[inside] = post[k]
                num[inside] = post[k] * (y - mu[k])
                off[k] = (
                    p.local_strength
                    * (smooth_low(num, zooms, p.local_mm) / (smooth_low(den, zooms, p.local_mm) + 0.05))[inside]
                )
        if it >= 2 and p.beta > 0:
            frac3[:, inside] = frac
            frac3[CSF][~inside] = 1
            fbar = neighbours(frac3, zooms)[:, inside]
    out = np.zeros((3, *full), np.float32)
    tmp = np.zeros((3, *inside.shape), np.float32)
    tmp[:, inside] = frac
    out[(slice(None), *box)] = tmp
    return out, dict(mu=mu, sd=sd, scale=scale)


def segment(corrected, mask, gm_prior, wm_prior, csf_prior, deep_prior=None, sloppy=False) -> Tissues:
    """Tissue fractions of a bias-corrected scan (native space)."""
    inside = np.asarray(mask.dataobj) > 0
    priors = np.stack([np.asarray(i.dataobj, dtype=np.float32) for i in (csf_prior, gm_prior, wm_prior)])
    zooms = np.asarray(corrected.header.get_zooms()[:3], dtype=float)
    fractions, stats = segment_arrays(np.asarray(corrected.dataobj), inside, priors, zooms, Params())
    csf, gm, wm = (image_like(f, corrected) for f in fractions)
    return Tissues(csf, gm, wm, stats)

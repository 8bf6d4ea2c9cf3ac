"""Fill, when an image is built, the caches that an unprivileged user of a read-only image cannot fill.

Fetches the TemplateFlow templates named on the command line, lets matplotlib list its fonts, and lets numba compile
what UMAP and PaCMAP need. The folders are named by TEMPLATEFLOW_HOME, MPLCONFIGDIR and NUMBA_CACHE_DIR.
"""

import sys

import matplotlib.font_manager
import numpy as np
from pacmap import PaCMAP
from umap import UMAP

from bids_app.space.templates import get_template

assert matplotlib.font_manager.fontManager.ttflist
# Both of UMAP's ways to find neighbours: exact below 4096 rows, by trees above.
rows = np.random.default_rng(0).normal(size=(5000, 8))
for n in (60, len(rows)):
    UMAP(n_neighbors=5, n_epochs=1).fit(rows[:n])
PaCMAP(num_iters=(1, 1, 1)).fit_transform(rows[:60].astype(np.float32), init="random")

for name in sys.argv[1:]:
    template = get_template(name)
    print(f"template {name}: {template.shape} at {template.resolution:g} mm")

"""What ANTs imports, nine tenths of the second that it takes itself; ANTs has threads and is left to the workers.

Imported by the process that workers are forked from. What fails here fails again where it is needed, and is told there.
"""

from contextlib import suppress
from importlib import import_module

for name in ("statsmodels.api", "sklearn.linear_model", "matplotlib.pyplot"):
    with suppress(Exception):
        import_module(name)

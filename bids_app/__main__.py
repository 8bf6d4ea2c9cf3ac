"""``python -m bids_app`` is the same as ``latentatlas``."""

import sys

from .cli import main

sys.exit(main())

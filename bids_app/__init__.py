"""LatentAtlas: which brain regions a latent space of grey-matter maps encodes, and what may be claimed of it."""

__version__ = "0.5.0"

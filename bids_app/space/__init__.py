"""Standard spaces: templates and atlases."""

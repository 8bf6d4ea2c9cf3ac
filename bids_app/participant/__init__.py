"""One scan at a time: from a T1-weighted image to a modulated grey-matter map."""

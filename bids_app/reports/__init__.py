"""Figures and the HTML reports, made from the output files alone."""

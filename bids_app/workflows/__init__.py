"""The Nipype graphs and interfaces: plumbing only, no science."""

"""Files that describe clusters, networks, profiles and problems, as FORMATS.md says."""

"""Manifests and corpora: `lighthubert prepare --help`."""

"""Manifests and corpora: `python -m lighthubert.prepare --help`."""

"""What every command shares: ranks, stop signals, progress, files, locks, fingerprints, tables, how errors are told.

This room is below all others and imports none of them."""

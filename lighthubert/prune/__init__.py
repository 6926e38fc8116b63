"""Structured pruning: hard-concrete gates over channels, heads and FFN units, and constraints on what the net costs."""

"""Branches that work at once: joins, fan-outs, conflicts and their rulings, merges."""

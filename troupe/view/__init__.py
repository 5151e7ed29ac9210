"""How a run looks to people: as lines, and alive in a terminal."""

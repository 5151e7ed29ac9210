"""The parts of a rehearsal: what is drawn, who plays, what goes wrong, one trial, and what many come to."""

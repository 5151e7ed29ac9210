"""The parts of a workflow: what waits for what, and starts as soon as that is there."""

"""A hub and its pool: assignments, scores, hand-offs, the board, guards."""

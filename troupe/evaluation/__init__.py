"""Evaluating teams: cases, scorers, variants, and a table of score, USD and seconds with intervals."""

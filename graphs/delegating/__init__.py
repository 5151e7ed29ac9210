"""Levels that guide and levels that work: plans, directives, packages, escalation, alignment."""

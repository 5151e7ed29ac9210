"""How agents take turns: state, gates, recovery and the patterns. Imports agents and prompts, nothing above."""

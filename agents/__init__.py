"""Who speaks: roles, agents, models, calls, money. Imports prompts, nothing above."""

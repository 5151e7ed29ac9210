"""How a way of working is chosen: a task is assessed, a table or the evidence decides, a team is made of roles."""

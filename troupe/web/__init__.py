"""A page for runs: start them, watch them, answer their questions. `troupe serve`; needs the extra `web`."""

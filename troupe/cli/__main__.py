"""`python -m troupe.cli`."""

from __future__ import annotations

from troupe.cli import main

if __name__ == "__main__":
    main()

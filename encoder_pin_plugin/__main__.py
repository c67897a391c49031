"""`python -m encoder_pin_plugin`: the command line, where no console script is on the path."""

from __future__ import annotations

from encoder_pin_plugin.operate.cli import main

if __name__ == "__main__":
    main()

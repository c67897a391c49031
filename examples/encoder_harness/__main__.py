"""`python -m examples.encoder_harness`."""

from examples.encoder_harness.cli import main

main()

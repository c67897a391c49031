"""The one error of the harness: what failed, where, and what a person can do about it."""

from __future__ import annotations


class HarnessError(RuntimeError):
    """The encoder, or a tool that it needs, did not do what was asked."""

"""What tests of several adapters share."""

from __future__ import annotations

import pytest

from encoder_pin_plugin.errors import NodeError


def failure(call: object, *args: object, **options: object) -> NodeError:
    """What a call is refused with."""
    with pytest.raises(NodeError) as caught:
        call(*args, **options)  # type: ignore[operator]
    return caught.value

"""What a migration's target can be, and what came of carrying CIDs to it."""

from __future__ import annotations

from encoder_pin_plugin.errors import EncoderPinError
from encoder_pin_plugin.nodes.cluster import ClusterNode
from encoder_pin_plugin.nodes.kubo import KuboNode
from encoder_pin_plugin.nodes.pinning_service import PinningService

Target = KuboNode | ClusterNode | PinningService

Carried = dict[str, EncoderPinError | None]
"""For each CID None where the target says that it has it, else what went wrong."""

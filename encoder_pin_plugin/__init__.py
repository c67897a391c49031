"""A pluggy plugin for video encoders that makes sure no finished job's content is ever lost.

The entry point is `encoder_pin_plugin.plugin:plugin`; the contract it implements is the package `encoder_hookspecs`.
"""

__version__ = "0.1.0"

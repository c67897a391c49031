"""The settings of a site: from the environment and `.env` files to one frozen, checked `Settings`."""

from encoder_pin_plugin.settings.credentials import Credentials, Secret, parse_credentials
from encoder_pin_plugin.settings.loading import Settings, SettingSource, data_dir, load_settings, sources

__all__ = [
    "Credentials",
    "Secret",
    "SettingSource",
    "Settings",
    "data_dir",
    "load_settings",
    "parse_credentials",
    "sources",
]

"""Configuration files of nodes, changed a few values at a time."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def read_json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def change_json(path: Path, *layers: Mapping[str, Any]) -> None:
    """Put the values of each layer, in turn, over what stands in the file, section by section."""
    content = read_json(path)
    for layer in layers:
        _lay_over(content, layer)
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")


def _lay_over(content: dict[str, Any], layer: Mapping[str, Any]) -> None:
    for name, value in layer.items():
        if isinstance(value, Mapping) and isinstance(content.get(name), dict):
            _lay_over(content[name], value)
        else:
            content[name] = value

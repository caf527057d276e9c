"""Texts of the OpenAPI document that belong to no type: what its tags mean, and examples of members.

The examples work on the seeded shop of `make up`. They are found as shop/http/openapi_examples.py describes.
"""

import json
from pathlib import Path
from typing import Any

_texts = json.loads((Path(__file__).parent.parent / "api_document.json").read_text())
API_TAGS: dict[str, str] = _texts["tags"]
API_EXAMPLES: dict[str, Any] = _texts["examples"]  # by member, or by struct and member

"""The JSON documents of the commands, validated by their schemas in the package."""

import json
from pathlib import Path
from typing import Any

import jsonschema

import pulumi_alembic

SCHEMAS = Path(pulumi_alembic.__file__).parent / "schemas"


def read(command: str, text: str) -> Any:
    """Return the document that a command printed, after validation by the command's schema."""
    document = json.loads(text)
    schema = json.loads((SCHEMAS / f"{command}.schema.json").read_text())
    jsonschema.validate(document, schema, format_checker=jsonschema.FormatChecker())
    return document

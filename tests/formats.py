"""The JSON documents of the commands, read as their schemas in the package say."""

import json
from pathlib import Path
from typing import Any

import jsonschema

import pulumi_alembic

SCHEMAS = Path(pulumi_alembic.__file__).parent / "schemas"


def read(command: str, text: str) -> Any:
    """The document that a command printed; it fits the command's schema."""
    document = json.loads(text)
    schema = json.loads((SCHEMAS / f"{command}.schema.json").read_text())
    jsonschema.validate(document, schema, format_checker=jsonschema.FormatChecker())
    return document

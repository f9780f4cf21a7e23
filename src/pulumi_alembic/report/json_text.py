"""JSON from a file that may hold anything: what it is instead is said in one line."""

from __future__ import annotations

import codecs
import json
from typing import Any

__all__ = ["parse"]

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_WANTED = "give it what `pulumi preview --json` prints"


def parse(data: bytes | str) -> Any:
    """The JSON value in `data`. Raises ValueError with one line that says what it is instead.

    Bytes are UTF-8, or UTF-16 with its mark: PowerShell redirects that way.
    """
    if not data.strip():
        raise ValueError(f"this is empty: {_WANTED}. If the preview itself failed, its standard error says why")
    try:
        text = data if isinstance(data, str) else data.decode("utf-16" if data.startswith(_UTF_16) else "utf-8-sig")
        return json.loads(text)
    except UnicodeDecodeError:
        raise ValueError(f"this is not text: {_WANTED}") from None
    except RecursionError:
        raise ValueError(f"this JSON is nested too deeply for a preview: {_WANTED}") from None
    except json.JSONDecodeError as error:
        raise ValueError(_instead(text, error)) from None
    except ValueError as error:
        raise ValueError(f"this JSON holds a number that no preview has: {error}") from None


def _instead(text: str, error: json.JSONDecodeError) -> str:
    start = text.lstrip()
    if start.startswith("{") and _is_event(start.partition("\n")[0]):
        return (
            "this is a stream of events, one object a line, and not one preview: use `pulumi preview --json`, without "
            "PULUMI_ENABLE_STREAMING_JSON_PREVIEW"
        )
    if start.startswith("Previewing "):
        return "this is a preview as people read it: use `pulumi preview --json`"
    if start.startswith("{") and not text.rstrip().endswith("}"):
        return f"this is cut off: it starts as JSON and ends in the middle, at line {text.count(chr(10)) + 1}"
    return f"this is not JSON, at line {error.lineno}, column {error.colno}: {_WANTED}, its standard error kept apart"


def _is_event(line: str) -> bool:
    try:
        found = json.loads(line)
    except ValueError:
        return False
    return isinstance(found, dict) and "sequence" in found

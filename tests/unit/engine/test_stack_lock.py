"""Of two operations that begin at once on a stack, at most one runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pulumi_embedded.errors import EngineError
from pulumi_embedded.storage import locks
from pulumi_embedded.storage.backend import FileBackend


def test_a_lock_that_another_engine_writes_meanwhile_is_respected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = FileBackend.open(f"file://{tmp_path}", tmp_path)
    create = locks.create_held

    def create_beside_another(own: Path, content: Callable[[bool], bytes]) -> int:
        descriptor = create(own, content)
        own.with_name("another.json").write_text('{"pid": 1, "hostname": "elsewhere"}')
        return descriptor

    monkeypatch.setattr(locks, "create_held", create_beside_another)
    with (
        pytest.raises(EngineError, match=r"locked by 1 lock\(s\)"),
        locks.stack_lock(backend, "project", "dev", print),
    ):
        pytest.fail("both operations run")
    assert [path.name for path in tmp_path.rglob("*.json")] == ["another.json"]

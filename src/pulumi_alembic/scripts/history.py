"""The history: the revisions on disk in their order, and whether they match the manifest."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from pathlib import Path

from pulumi_alembic.errors import HistoryError, TargetError
from pulumi_alembic.scripts import baseline, naming
from pulumi_alembic.scripts.baseline import Baseline
from pulumi_alembic.scripts.manifest import COMMAND, Entry, Manifest
from pulumi_alembic.scripts.revision import Revision

__all__ = ["BASE", "HEAD", "SQUASH", "History"]

BASE = "base"
HEAD = "head"

SQUASH = "pulumi-alembic squash"
"""The command that replaces a revision and all that it builds on by one script."""


@dataclass(frozen=True)
class History:
    """The revisions of a project. Every down revision is in it, and no revision is its own ancestor.

    Attributes:
        revisions: by id. The order depends only on the scripts, and each one comes after all that it builds on.
        manifest: the manifest of their directory, which can differ from them. See `require_manifest`.
        baselines: the baselines on disk, by the id of their revision.

    """

    revisions: Mapping[str, Revision]
    manifest: Manifest
    baselines: Mapping[str, Baseline] = field(default_factory=dict)

    @classmethod
    def load(cls, directory: Path) -> History:
        """Read the scripts of `directory`/versions.

        A script whose checksum is in the manifest is not parsed. Unlisted or changed scripts are read too, and rejected
        only by `require_manifest`.

        Raises:
            HistoryError: a script breaks the rules of a history. The message names the file.

        """
        versions = directory / "versions"
        if not versions.is_dir():
            raise HistoryError(f"there is no folder {versions}: revision scripts are looked for there")
        manifest = Manifest.load(directory)
        listed = {entry.file: entry for entry in manifest.entries}
        with os.scandir(versions) as entries:
            files = sorted(file.name for file in entries if file.name.endswith(".py") and file.name != "__init__.py")
        by_rule = naming.holds(files)
        revisions = [Revision.read(versions, file, listed.get(file), by_rule=by_rule) for file in files]
        return cls.of(revisions, manifest, baseline.load(directory))

    @classmethod
    def of(
        cls, revisions: Iterable[Revision], manifest: Manifest, baselines: Mapping[str, Baseline] | None = None
    ) -> History:
        """Return the history of these revisions, given in any order. Raises HistoryError as `load` does."""
        chosen = list(revisions)
        by_id: dict[str, Revision] = {}
        for revision in chosen:
            if twin := by_id.get(revision.id):
                ids = [step.id for step in chosen]
                free = f"be {_next_id(ids)}, in its name and in" if naming.is_revision_id(ids[0]) else "have another"
                raise HistoryError(
                    f"{twin.path} and {revision.path} both are revision {revision.id}: let the newer one {free} "
                    f"`revision`" + (f"; then: {COMMAND}" if manifest.exists else "")
                )
            by_id[revision.id] = revision
        _refuse_half_squashes(by_id, baselines or {})
        _refuse_gaps(by_id)
        for id, orphan in (baselines or {}).items():
            if id not in by_id:
                raise HistoryError(f"{orphan.path} is the baseline of a revision that no script has: delete the file")
        return cls({id: by_id[id] for id in _ordered(by_id)}, manifest, baselines or {})

    @cached_property
    def heads(self) -> tuple[str, ...]:
        """The revisions that no other one builds on, sorted."""
        built_on = {down for revision in self.revisions.values() for down in revision.down_revisions}
        return tuple(sorted(set(self.revisions) - built_on))

    def resolve(self, target: str) -> str:
        """Return the revision id that `target` stands for: `head`, `base` or an id, also one whose script was squashed.

        Raises:
            TargetError: there is no such revision, or several heads.

        """
        if target in self.revisions or target == BASE or target in self.removed:
            return target
        if target != HEAD:
            ids = ", ".join(sorted(self.revisions)) or "none"
            raise TargetError(f"there is no revision {target!r} in the scripts; there are: {ids}")
        if len(self.heads) > 1:
            raise TargetError(f"the scripts have {len(self.heads)} heads, {' and '.join(self.heads)}. {self._join}")
        return self.heads[0] if self.heads else BASE

    @cached_property
    def squashes(self) -> tuple[Revision, ...]:
        """The scripts on disk that a squash wrote."""
        return tuple(script for script in self.revisions.values() if script.replaces and not script.is_stored)

    @cached_property
    def removed(self) -> frozenset[str]:
        """The ids of the revisions that have no script here, because a squash has removed it."""
        return frozenset(one.id for script in self.squashes for one in script.replaces if one.id != script.id)

    def require_script(self, id: str, problem: str) -> None:
        """Raise TargetError if a squash has removed the script of `id`. The message begins with the problem."""
        if id in self.removed:
            raise TargetError(f"{problem}. {self.way_to(id)}")

    def way_to(self, id: str) -> str:
        """Return where the script is that a squash has removed, with the command that brings it."""
        [(file, commit)] = [(s.file, one.commit) for s in self.squashes for one in s.replaces if one.id == id]
        return f"A squash replaced its script by {file}. Check out the commit that has it:\n  git checkout {commit}"

    def ancestors(self, revisions: Iterable[str]) -> tuple[str, ...]:
        """Return the given revisions and all that they build on, each after its own ancestors."""
        reached: set[str] = set()
        pending = list(revisions)
        while pending:
            if (id := pending.pop()) not in reached:
                reached.add(id)
                pending += self.revisions[id].down_revisions
        return tuple(id for id in self.revisions if id in reached)

    def merge_command(self, revisions: Iterable[str]) -> str:
        """Return the command that merges these branches, with the next id.

        `alembic merge` does not find that itself.
        """
        named = f"--rev-id {_next_id(self.revisions)} " if self.is_named_by_rule else ""
        return f"alembic merge {named}-m 'merge branches' {' '.join(revisions)}"

    @cached_property
    def is_named_by_rule(self) -> bool:
        """Whether all revisions follow the naming rule. True for a project without scripts."""
        return all(naming.is_revision_id(id) for id in self.revisions)

    @cached_property
    def differences(self) -> list[str]:
        """Differences between the manifest and the scripts, one line each. Empty if there is no manifest."""
        return self.manifest.differences(self._entries)

    def require_manifest(self) -> None:
        """Raise HistoryError, with the command to run, if the manifest or a baseline does not match the scripts."""
        if not self.differences:
            self._require_baselines()
            return
        path = self.manifest.path
        if len(self.heads) > 1:
            advice = self._join
        else:
            advice = f"{'Write it again' if self.manifest.defect else 'If that is meant, update it'}: {COMMAND}"
        raise HistoryError(
            "\n".join(
                [f"{path.parent.name}/{path.name} does not match the scripts:"]
                + [f"  {difference}" for difference in self.differences]
                + [advice]
            )
        )

    @property
    def without_baselines(self) -> History:
        """The history without baselines, also in its manifest."""
        entries = tuple(entry for entry in self.manifest.entries if not entry.file.startswith(f"{baseline.FOLDER}/"))
        return replace(self, manifest=replace(self.manifest, entries=entries), baselines={})

    def write_manifest(self) -> list[str]:
        """Update the manifest to the current scripts, and return what changed in it, one line each."""
        self.manifest.write(self._entries)
        return self.manifest.changes(self._entries)

    def _require_baselines(self) -> None:
        for id, written in self.baselines.items():
            if written.scripts != baseline.digest(self.revisions[ancestor] for ancestor in self.ancestors([id])):
                raise HistoryError(
                    f"{written.path} was written for other scripts than those here. Write it again:\n"
                    f"  {baseline.COMMAND} {id}"
                )

    @property
    def _entries(self) -> list[Entry]:
        return [*self._listed()]

    def _listed(self) -> Iterator[Entry]:
        for id, revision in self.revisions.items():
            yield revision.entry
            if id in self.baselines:
                yield self.baselines[id].entry

    @property
    def _join(self) -> str:
        return "\n  ".join(["Merge them:", self.merge_command(self.heads), *([COMMAND] if self.differences else [])])


def _next_id(taken: Iterable[str]) -> str:
    return naming.next_revision_id(taken, date.today())


def _refuse_half_squashes(revisions: Mapping[str, Revision], baselines: Mapping[str, Baseline]) -> None:
    for script in revisions.values():
        replaced = set() if script.is_stored else {one.id for one in script.replaces}
        if replaced & baselines.keys() or (replaced - {script.id}) & revisions.keys():
            raise HistoryError(f"a squash of {script.id} was interrupted. Complete it:\n  {SQUASH} {script.id}")


def _refuse_gaps(revisions: Mapping[str, Revision]) -> None:
    for revision in revisions.values():
        for down in revision.down_revisions:
            if down not in revisions:
                raise HistoryError(
                    f"{revision.path} builds on revision {down}, but no script has that id: restore it, "
                    f"or correct down_revision"
                )


def _ordered(revisions: Mapping[str, Revision]) -> list[str]:
    """Return the ids ordered by their number, then by the whole id, each after all that it builds on."""
    waiting = {id: len(set(revision.down_revisions)) for id, revision in revisions.items()}
    above: dict[str, list[str]] = {id: [] for id in revisions}
    for id, revision in revisions.items():
        for down in set(revision.down_revisions):
            above[down].append(id)
    ready = [(id[-3:], id) for id, count in waiting.items() if not count]
    heapq.heapify(ready)
    order: list[str] = []
    while ready:
        order.append(heapq.heappop(ready)[1])
        for id in above[order[-1]]:
            waiting[id] -= 1
            if not waiting[id]:
                heapq.heappush(ready, (id[-3:], id))
    if cycle := ", ".join(sorted(set(revisions) - set(order))):
        raise HistoryError(f"the down_revision or depends_on of these scripts forms a cycle, correct it: {cycle}")
    return order

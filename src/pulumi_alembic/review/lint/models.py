"""The models against what the last revision leaves: tables, columns, types, whether they may be null. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pulumi_alembic.sql.catalog import Catalog, Column, Models, Relation, quoted
from pulumi_alembic.sql.effects.types import same_type

__all__ = ["ModelDifference", "differences"]


@dataclass(frozen=True)
class ModelDifference:
    """What is on one side only, or different; `unmodelled` is what the models lack, empty for any other difference."""

    text: str
    unmodelled: str = ""


def differences(models: Models, catalog: Catalog) -> Iterator[ModelDifference]:
    """Each thing that is on one side only, or different; of other schemas than the models' none."""
    found = {catalog.find(schema or None, name): columns for (schema, name), columns in models.items()}
    for name, columns in found.items():
        relation = catalog.relations.get(name)
        if relation is None or relation.assumed:
            yield ModelDifference(f"the model {name} has no table")
        else:
            yield from _columns(name, columns, relation, catalog)
    schemas = {name.rpartition(".")[0] for name in found}
    for relation in catalog.relations.values():
        own = relation.kind in "rp" and not relation.parents and relation.name.rpartition(".")[0] in schemas
        if own and relation.name not in found and not relation.assumed:
            yield ModelDifference(f"the table {relation.name} has no model", relation.name)


def _columns(
    name: str, columns: Mapping[str, Column], relation: Relation, catalog: Catalog
) -> Iterator[ModelDifference]:
    if not relation.columns and columns:
        return
    for column in [*columns, *(each for each in relation.columns if each not in columns)]:
        wanted, there = columns.get(column), relation.columns.get(column)
        place = f"{name}.{quoted(column)}"
        if wanted is None or there is None:
            side = "the model has no" if wanted is None else "only the model has a"
            yield ModelDifference(f"{side} column {place}", place if wanted is None else "")
        elif wanted.type and there.type and not same_type(catalog, wanted.type, there.type):
            yield ModelDifference(f"{place} is {there.type}, and {wanted.type} in the model")
        elif wanted.not_null != there.not_null:
            states = {True: "NOT NULL", False: "nullable"}
            text = f"{place} is {states[there.not_null]}, and {states[wanted.not_null]} in the model"
            yield ModelDifference(text)

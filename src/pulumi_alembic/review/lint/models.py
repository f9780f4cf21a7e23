"""Compare the program's models with the schema after the last revision: tables, columns, types, NOT NULL. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pulumi_alembic.sql.catalog import Catalog, Column, Models, Relation, quoted
from pulumi_alembic.sql.effects.types import same_type

__all__ = ["ModelDifference", "differences"]


@dataclass(frozen=True)
class ModelDifference:
    """A difference between models and schema. `unmodelled` names what the models lack, if that is the difference."""

    text: str
    unmodelled: str = ""


def differences(models: Models, catalog: Catalog) -> Iterator[ModelDifference]:
    """Return the differences between the models and the catalog, in the models' schemas only."""
    modelled = {catalog.find(schema or None, name): columns for (schema, name), columns in models.items()}
    for name, columns in modelled.items():
        relation = catalog.relations.get(name)
        if relation is None or relation.assumed:
            yield ModelDifference(f"the model {name} has no table")
        else:
            yield from _columns(name, columns, relation, catalog)
    schemas = {name.rpartition(".")[0] for name in modelled}
    for relation in catalog.relations.values():
        own = relation.kind in "rp" and not relation.parents and relation.name.rpartition(".")[0] in schemas
        if own and relation.name not in modelled and not relation.assumed:
            yield ModelDifference(f"the table {relation.name} has no model", relation.name)


def _columns(
    name: str, columns: Mapping[str, Column], relation: Relation, catalog: Catalog
) -> Iterator[ModelDifference]:
    if not relation.columns and columns:
        return
    for column in [*columns, *(other for other in relation.columns if other not in columns)]:
        modelled, real = columns.get(column), relation.columns.get(column)
        place = f"{name}.{quoted(column)}"
        if modelled is None or real is None:
            side = "the model has no" if modelled is None else "only the model has a"
            yield ModelDifference(f"{side} column {place}", place if modelled is None else "")
        elif modelled.type and real.type and not same_type(catalog, modelled.type, real.type):
            yield ModelDifference(f"{place} is {real.type}, and {modelled.type} in the model")
        elif modelled.not_null != real.not_null:
            states = {True: "NOT NULL", False: "nullable"}
            text = f"{place} is {states[real.not_null]}, and {states[modelled.not_null]} in the model"
            yield ModelDifference(text)

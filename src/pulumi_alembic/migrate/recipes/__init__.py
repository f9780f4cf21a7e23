"""Recipes: changes of a schema that old and new code survive, written as revisions that a person reviews."""

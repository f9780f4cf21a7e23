"""Recipes: schema changes that work with old and new code, written as revisions that a person reviews."""

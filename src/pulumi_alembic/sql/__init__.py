"""Static analysis of SQL: effects and locks of statements, and the catalog that they meet. Pure functions."""

"""Text that is printed: harmless for terminals and logs, without passwords and without values of rows."""

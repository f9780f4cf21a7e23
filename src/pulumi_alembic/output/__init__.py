"""Text for people: safe for terminals and logs, without passwords. Also traces and metrics."""

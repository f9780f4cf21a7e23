"""What a revision would take away of a database's rows, before it runs: seen, counted, and refused unless allowed."""

"""The status of all stacks of a project, from their states and databases. Changes nothing."""

"""All stacks of a project at a glance: what their states and their databases say. Changes nothing."""

"""Files of the project, the stack's configuration and its state, in the Pulumi CLI's own formats."""

"""What is kept on disk: the project's files, the stack's configuration and state, in the Pulumi CLI's own formats."""

"""What Pulumi meets: the check of inputs, the update, refresh, adoption, and messages to the engine."""

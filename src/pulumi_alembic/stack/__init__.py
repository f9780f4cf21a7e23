"""The resource as Pulumi sees it: check, update, refresh, adoption, and messages to the engine."""

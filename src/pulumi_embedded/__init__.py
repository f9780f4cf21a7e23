"""Run a Pulumi Python program without the Pulumi CLI, with Pulumi's own protocols and state files."""

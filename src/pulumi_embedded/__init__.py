"""Runs a Pulumi Python program where no Pulumi CLI is installed, over Pulumi's own protocols and state files."""

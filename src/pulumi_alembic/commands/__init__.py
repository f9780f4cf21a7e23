"""The commands of `pulumi-alembic`."""

"""The statements that bring back what is expected. Pure."""

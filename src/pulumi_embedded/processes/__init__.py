"""The processes around the engine, and the protocols spoken with them: the program and the provider plugins."""

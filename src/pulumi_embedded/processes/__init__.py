"""The processes around the engine, the program and the provider plugins, and the protocols between them."""

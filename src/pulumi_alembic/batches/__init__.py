"""A long update in batches: the key that it walks along, how large a batch is, and the walk itself."""

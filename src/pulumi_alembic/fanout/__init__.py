"""One schema in many databases of a server: waves of processes, one resource."""

"""One operation on one stack: what the program wants against what there is, decided, carried out, recorded."""

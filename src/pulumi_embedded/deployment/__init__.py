"""One operation on one stack: compare the program with the state, decide the steps, run them and record them."""

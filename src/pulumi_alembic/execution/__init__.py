"""The execution of a plan on a database: attempts, phases outside a transaction, and what is said of a failure."""

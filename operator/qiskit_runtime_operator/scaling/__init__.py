"""How many pods an executor gets, where the RuntimeServer lets the operator decide: pure, without a cluster."""

"""Training as the Train and Prune pages run it."""

"""Trying filters out: what the loss would be without them."""

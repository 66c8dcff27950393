"""Grow, prune and trust small neural networks for microscopy."""

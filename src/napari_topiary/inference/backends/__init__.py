"""What runs a network's arithmetic: one file each."""

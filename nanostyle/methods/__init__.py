"""Floor 4: what a person can ask for, one file each."""

"""Several processes at one work: who they are, what they tell each other, and sums that do not depend on how many."""

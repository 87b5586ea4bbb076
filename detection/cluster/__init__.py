"""Many machines: work spread over the workers of a Ray cluster, where one of them may die at any time."""

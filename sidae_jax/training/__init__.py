"""Pre-training: the loop, the step, what feeds it, and what each seed writes."""

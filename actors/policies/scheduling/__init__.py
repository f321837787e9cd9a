"""Who runs next: ranking, fairness, slots, preemption, expected starts."""

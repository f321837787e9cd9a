"""The judgement itself, pure: ranking, fairness, preemption, forecasting, rebalancing."""

"""The judgement itself, pure: scheduling, forecasting, rebalancing, delivery. Nothing here knows of the runtime."""

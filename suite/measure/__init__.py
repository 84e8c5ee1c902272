"""Measurement: success rates and their intervals, curves, a task's facts, the rank test on locks."""

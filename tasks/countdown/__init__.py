"""Countdown: an arithmetic expression that hits a target."""

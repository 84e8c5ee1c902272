"""The leaderboard: rows, the best control, tests between rows, several tasks together."""

"""What is kept on disk: records, ledgers, weights, shipped assets, and where they came from."""

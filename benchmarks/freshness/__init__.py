"""How soon a page knows what a shopper just did: `python -m benchmarks.freshness`."""

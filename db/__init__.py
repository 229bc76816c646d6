"""What is remembered: model, store, queries."""

"""Accuracy against latency over several artifacts: measured side by side, written as a report."""

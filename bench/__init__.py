"""The public benchmark: what this gateway costs beside others doing the same job on the same machine.

Measures from outside: nothing here imports copilotapi. `make bench` runs it; docs/benchmarks.md is what it writes.
"""

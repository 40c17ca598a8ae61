"""Who called, and how much: keys, the ledger, metrics. Knows no HTTP and no protocol."""

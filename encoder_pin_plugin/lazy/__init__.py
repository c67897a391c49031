"""From "job complete" to pinned on the supernode, or given up: intake, ledger, retry, worker."""

"""The audit trail: a chain of hashes over the lines of a file, signed checkpoints, what proves them, and reports."""

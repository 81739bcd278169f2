"""The audit trail: a chain of hashes over the lines of a file, signed checkpoints of it, and what proves them."""

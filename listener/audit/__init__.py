"""The audit trail: a chain of hashes over the lines of a file, signed checkpoints, what proves them, and reports.

Writing goes through `Trail` alone, which blocks: the file sink calls it from one thread. Below it are the file of whole
lines with its one writer, the chain, the window of lines that stand there already, the signer of checkpoints, and the
files that are closed. Compressing and deleting have a second thread. Posting a checkpoint is a task that nothing waits
for.

Verifying and reporting read files and nothing else, so that an auditor needs neither journal nor configuration.
`docs/audit-trail.md` says what the trail proves and what it does not.
"""

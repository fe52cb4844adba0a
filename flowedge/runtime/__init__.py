"""Running a graph: threads, accounts, failures, the end."""

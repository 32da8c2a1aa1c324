"""The control database: runs, plans, approvals, rule sets, drills, requests.

It remembers what the service decides by; the repository stays the truth: what is lost here is read back from
there. SQLite on one machine. Transactions are short and taken for writing at once, so two processes wait for each
other instead of failing halfway. Times are arguments and are kept in UTC.
"""

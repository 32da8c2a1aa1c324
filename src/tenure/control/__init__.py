"""The control database: runs, plans, approvals, drills."""

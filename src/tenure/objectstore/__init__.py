"""Where bytes go: the ObjectStore port and its implementations.

Objects are written once and never changed, so the repository works on storage that cannot overwrite. What callers
may rely on is stated at `base.ObjectStore`; every implementation and wrapper passes the same contract tests.
"""

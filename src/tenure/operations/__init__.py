"""What Tenure does: snapshot, restore, purge, erase, drill, verify, prune; each a plan and an execute."""

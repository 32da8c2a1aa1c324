"""Speed against restic on the same files: `make bench`, or `make bench ONLY=recordings`."""

"""What Tenure reads and purges: databases and recording stores."""

"""Values and errors every room shares; standard library only."""

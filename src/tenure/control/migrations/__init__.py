"""How the control database came to look as it does, step by step; Alembic runs them."""

"""What is known of locks in the object store, and which snapshots are under a legal hold there."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the tables; no lock is known yet, so each is asked for once."""
    op.create_table(
        "locks",
        sa.Column("name", sa.String(), primary_key=True),
        sa.Column("until", sa.Float(), nullable=False),
    )
    op.create_table(
        "page_packs",
        sa.Column("page", sa.LargeBinary(), primary_key=True),
        sa.Column("data_set", sa.String(), nullable=False),
        sa.Column("packs", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "legal_holds",
        sa.Column("snapshot", sa.Integer(), primary_key=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
    )

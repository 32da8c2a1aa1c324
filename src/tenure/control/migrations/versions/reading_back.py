"""How far stored data was read back, cohort by cohort."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the table; nothing counts as read back yet."""
    op.create_table(
        "checks",
        sa.Column("tag", sa.LargeBinary(), primary_key=True),
        sa.Column("proven", sa.Integer(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("through", sa.Integer(), nullable=False),
        sa.Column("after", sa.LargeBinary(), nullable=False),
        sa.Column("sound", sa.Boolean(), nullable=False),
    )

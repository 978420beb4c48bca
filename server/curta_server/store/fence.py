"""What keeps a leader whose term is over from writing: the epoch is checked in the statement that writes.

Used by every statement of a leader, here and in the modules beside.
"""

from curta_server.errors import NotLeading

# The leadership's row is locked against take-over until the commit, but not against the beat, which is an
# ordinary update: FOR KEY SHARE meets only the FOR UPDATE of a take-over. So no row of an old term can follow
# a new term's start, and the new leader sees every row that was written before.
LEAD = """lead AS MATERIALIZED (
        SELECT epoch FROM leadership WHERE id = 1 AND epoch = :epoch FOR KEY SHARE
    )"""
"""The first part of a `WITH`. What writes selects `FROM lead`: nothing, where another term has begun."""


def check_lead(epoch: int, found: object) -> None:
    """`found` is how many rows `lead` had. Raises NotLeading where it had none."""
    if not found:
        raise NotLeading(f"term {epoch} is over")

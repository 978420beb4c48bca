"""Moments of the database's clock, as its driver gives them."""

from datetime import UTC, datetime, timedelta

_ZERO = datetime(1970, 1, 1, tzinfo=UTC)


def datetime_of(us: int | None) -> datetime | None:
    """Microseconds since 1970 as a moment in UTC; None stays None."""
    return None if us is None else _ZERO + timedelta(microseconds=us)

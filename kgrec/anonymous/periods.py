"""Times generalised to periods: a week, a month, a year, or none."""

import datetime
from collections.abc import Sequence

PERIODS = ("week", "month", "year", "none")  # from fine to coarse


def name_period(at: int, period: str) -> str | None:
    """The period of a time, such as 1998-W04, 1998-01 or 1998, in UTC; None for "none".

    Args:
        at: UTC seconds.
        period: one of `PERIODS`.
    """
    if period == "none":
        return None
    date = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=at)  # fromtimestamp fails before 1970 on Windows
    if period == "week":
        year, week, _ = date.isocalendar()
        return f"{year:04}-W{week:02}"
    return f"{date.year:04}-{date.month:02}" if period == "month" else f"{date.year:04}"


def find_period(name: str | None) -> str:
    """Which of `PERIODS` a name of `name_period` is of."""
    if name is None:
        return PERIODS[-1]
    return "week" if "W" in name else "month" if "-" in name else "year"


def find_common_period(times: Sequence[int], finest: str) -> str | None:
    """The finest period that times have in common, not finer than `finest`; None: there is none."""
    for period in PERIODS[PERIODS.index(finest) :]:
        names = {name_period(at, period) for at in times}
        if len(names) == 1:
            return names.pop()
    return None

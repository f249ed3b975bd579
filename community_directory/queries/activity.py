"""What each member did in a period, summed from the months and the days of the highlights."""

from community_directory.queries.standing import ABSENT


# Whole months have one row for each member instead of up to 31. The days are read at both ends of
# the period alone, in two ranges of one index. All three parts are index-only, by
# monthly_highlight_month_idx and highlight_date_idx, and a year costs less than two months of days.
def make_period_parts(since: str, until: str) -> str:
    """Return the SQL of a subquery: the months and days of a period, not summed.

    Its columns are member_id, active_days, message_count, reaction_count and voice_minutes. Bots
    are in it: a bot that was marked after its days were archived keeps them.

    Args:
        since: The placeholder of the first day, such as ":since" or "$1".
        until: The placeholder of the last day, which is included.
    """
    # The first day of the first whole month of the period, and of the month after its last whole
    # month. If the period contains no whole month, the second is not after the first.
    first_month = (
        f"date_trunc('month', {since}::date + interval '1 month' - interval '1 day')::date"
    )
    after_last_month = f"date_trunc('month', {until}::date + interval '1 day')::date"
    return f"""
        SELECT member_id, active_days::integer AS active_days, message_count, reaction_count,
            voice_minutes
        FROM member_monthly_highlights
        WHERE month >= {first_month} AND month < {after_last_month}
        UNION ALL
        SELECT member_id, 1, coalesce(message_count, 0), coalesce(reaction_count, 0),
            coalesce(voice_minutes, 0)
        FROM member_daily_highlights
        WHERE highlight_date >= {since}::date
            AND highlight_date < least({first_month}, {until}::date + 1)
        UNION ALL
        SELECT member_id, 1, coalesce(message_count, 0), coalesce(reaction_count, 0),
            coalesce(voice_minutes, 0)
        FROM member_daily_highlights
        WHERE highlight_date >= greatest({first_month}, {after_last_month})
            AND highlight_date <= {until}::date
    """


PRESENT_ACTIVITY = f"""
    SELECT member_id, sum(active_days) AS active_days, sum(message_count) AS message_count,
        sum(reaction_count) AS reaction_count, sum(voice_minutes) AS voice_minutes
    FROM ({make_period_parts(":since", ":until")}) AS parts GROUP BY member_id
    HAVING member_id NOT IN ({ABSENT})
"""
"""What each person who is present did from `:since` to `:until`, in a `Statement`.

It has the columns of `make_period_parts`. Whoever was not active has no row.
"""

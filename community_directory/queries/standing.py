"""Who is present, who is a member and who is gone, as conditions in SQL on `community_members`.

The page People and Insights share them, so that a number and the list behind it are of the same
people.
"""

PRESENT = "NOT is_bot AND deleted_at IS NULL AND status <> 'banned'"
"""A person who was neither removed nor banned: a contact or a member."""
ABSENT = """
    SELECT member_id FROM community_members
    WHERE is_bot OR deleted_at IS NOT NULL OR status = 'banned'
"""
"""The numbers of all who are not present, from member_absent_idx alone, which has this condition.

They are few: `NOT IN` takes half as long as a join.
"""
MEMBER = "NOT is_bot AND deleted_at IS NULL AND status IN ('pending', 'active', 'suspended')"
"""A person who is present, and more than a contact."""
EVER_MEMBER = """NOT is_bot AND merged_into IS NULL
    AND member_id IN (SELECT member_id FROM member_milestones WHERE joined_at IS NOT NULL)"""
"""A person who is a member, or was one."""
GONE = f"""{EVER_MEMBER}
    AND (deleted_at IS NOT NULL OR status NOT IN ('pending', 'active', 'suspended'))"""
"""A person who was a member, and is none now: somebody removed or banned, or a contact again."""


def is_no_contact_sql(number: str) -> str:
    """Return the condition in SQL that somebody is no contact.

    Use it for few people, who are looked up one by one. Contacts can be too many for a `NOT IN`.

    Args:
        number: The person's number, in SQL.
    """
    return f"""(
    SELECT status FROM community_members AS member WHERE member.member_id = {number}
) <> 'not_member'"""

import runpy

from tests.processes import PROJECT

DOCS = PROJECT / "docs"


def test_the_page_of_the_helpers_says_what_the_docstrings_say() -> None:
    page = runpy.run_path(str(DOCS / "make_helpers.py"))["page"]()
    assert (DOCS / "helpers.md").read_text() == page, "run: python docs/make_helpers.py"


def test_every_helper_of_the_design_is_on_the_page() -> None:
    page = (DOCS / "helpers.md").read_text()
    for module, names in {
        "members": """add get find get_by_telegram_id find_by_telegram_id update_profile set_status verify_github search
            leaderboard remove restore export erase""",
        "invitations": "create get find list_page redeem extend cancel expire_overdue lineage tree",
        "participation": "record record_many history activity most_active",
        "highlights": "roll_up between verify",
        "relationships": "link unlink of",
        "audit": "history",
    }.items():
        for name in names.split():
            assert f"### {module}.{name}\n" in page


def test_every_helper_says_what_it_raises_or_raises_nothing() -> None:
    page = (DOCS / "helpers.md").read_text()
    quiet = {"members.find", "members.find_by_telegram_id", "invitations.find", "invitations.expire_overdue"}
    quiet |= {"participation.record_many"}
    for part in page.split("\n### ")[1:]:
        name, _, text = part.partition("\n")
        assert ("raises `" in text.lower()) is (name not in quiet), name

"""Known bots: the accounts that imports found to be bots, and that are no members or contacts."""

from piccolo.columns import UUID, Timestamptz, Varchar
from piccolo.constraints import Check, Unique
from piccolo.table import Table

from community_directory.database import engine
from community_directory.tables import checks


class DirectoryBot(
    Table,
    tablename="directory_bots",
    db=engine,
    help_text="Accounts that imports found to be bots. Their events are not imported.",
):
    id = UUID(primary_key=True)
    telegram_id = Varchar(
        length=255,
        default=None,
        required=True,
        help_text="The numeric id of the Telegram account, or discord: and the id on Discord.",
    )
    name = Varchar(
        length=255, default=None, required=True, help_text="The name that the export shows."
    )
    created_at = Timestamptz()

    bot_telegram_id_idx = Unique([telegram_id])

    bot_telegram_id_check = Check(checks.account_id("telegram_id"))
    bot_name_check = Check(checks.visible("name"))
    bot_created_at_range_check = Check(checks.in_range("created_at"))

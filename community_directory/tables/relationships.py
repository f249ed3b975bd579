"""Relationships between two ElizaOS entities, such as invitations and mentorships."""

from piccolo.columns import JSONB, UUID, Timestamptz, Varchar
from piccolo.columns.readable import Readable
from piccolo.constraints import Check, Unique
from piccolo.table import Table

from community_directory.database import engine
from community_directory.tables import checks


class MemberRelationship(
    Table,
    tablename="member_relationships",
    db=engine,
    help_text="A directed link between two ElizaOS entities.",
):
    id = UUID(primary_key=True)
    entity_id_a = Varchar(
        length=255,
        default=None,
        required=True,
        help_text="The ElizaOS id of the entity that the link starts from.",
    )
    entity_id_b = Varchar(
        length=255,
        default=None,
        required=True,
        help_text="The ElizaOS id of the entity that the link leads to.",
    )
    relationship_type = Varchar(
        length=50,
        default=None,
        required=True,
        help_text="An upper-case name, such as INVITED or MENTORED.",
    )
    content = JSONB(default="{}", help_text="Details of the link, a JSON object.")
    created_at = Timestamptz()

    # A link is stored once. The index of this constraint also serves lookups by entity_id_a alone.
    relationship_entity_a_idx = Unique([entity_id_a, entity_id_b, relationship_type])

    relationship_entity_a_check = Check(checks.no_space("entity_id_a"))
    relationship_entity_b_check = Check(checks.no_space("entity_id_b"))
    relationship_entities_check = Check("entity_id_a <> entity_id_b")
    relationship_type_check = Check(checks.upper_case_name("relationship_type"))
    relationship_content_check = Check(checks.json_object("content"))

    relationship_content_readable_check = Check(checks.readable_json("content"))
    relationship_created_at_range_check = Check(checks.in_range("created_at"))

    @classmethod
    def get_readable(cls) -> Readable:
        """Show a relationship as its type and its two entities."""
        return Readable(
            template="%s %s → %s", columns=[cls.relationship_type, cls.entity_id_a, cls.entity_id_b]
        )

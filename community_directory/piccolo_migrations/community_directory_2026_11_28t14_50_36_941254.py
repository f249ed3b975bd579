from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from enum import Enum
from piccolo.columns.base import OnDelete
from piccolo.columns.base import OnUpdate
from piccolo.columns.column_types import BigSerial
from piccolo.columns.column_types import Boolean
from piccolo.columns.column_types import Date
from piccolo.columns.column_types import ForeignKey
from piccolo.columns.column_types import Integer
from piccolo.columns.column_types import JSONB
from piccolo.columns.column_types import Text
from piccolo.columns.column_types import Timestamptz
from piccolo.columns.column_types import UUID
from piccolo.columns.column_types import Varchar
from piccolo.columns.defaults.timestamptz import TimestamptzNow
from piccolo.columns.defaults.timestamptz import TimestamptzOffset
from piccolo.columns.defaults.uuid import UUID4
from piccolo.columns.indexes import IndexMethod
from piccolo.constraints import Check
from piccolo.constraints import Unique
from piccolo.table import Table


class CommunityMember(Table, tablename="community_members", schema=None):
    id = UUID(
        default=UUID4(),
        null=False,
        primary_key=True,
        unique=False,
        index=False,
        index_method=IndexMethod.btree,
        choices=None,
        db_column_name=None,
        secret=False,
    )
    member_id = Varchar(
        length=20,
        default="",
        null=False,
        primary_key=False,
        unique=True,
        index=False,
        index_method=IndexMethod.btree,
        choices=None,
        db_column_name=None,
        secret=False,
    )


ID = "2026-11-28T14:50:36:941254"
VERSION = "1.38.0"
DESCRIPTION = "The six tables"


async def forwards():
    manager = MigrationManager(
        migration_id=ID, app_name="community_directory", description=DESCRIPTION
    )

    manager.add_table(
        class_name="DirectoryAuditLog",
        tablename="directory_audit_log",
        schema=None,
        columns=None,
    )

    manager.add_table(
        class_name="MemberRelationship",
        tablename="member_relationships",
        schema=None,
        columns=None,
    )

    manager.add_table(
        class_name="CommunityInvitation",
        tablename="community_invitations",
        schema=None,
        columns=None,
    )

    manager.add_table(
        class_name="MemberDailyHighlight",
        tablename="member_daily_highlights",
        schema=None,
        columns=None,
    )

    manager.add_table(
        class_name="MemberParticipation",
        tablename="member_participation",
        schema=None,
        columns=None,
    )

    manager.add_table(
        class_name="CommunityMember",
        tablename="community_members",
        schema=None,
        columns=None,
    )

    manager.add_column(
        table_class_name="DirectoryAuditLog",
        tablename="directory_audit_log",
        column_name="id",
        db_column_name="id",
        column_class_name="BigSerial",
        column_class=BigSerial,
        params={
            "null": False,
            "primary_key": True,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="DirectoryAuditLog",
        tablename="directory_audit_log",
        column_name="changed_at",
        db_column_name="changed_at",
        column_class_name="Timestamptz",
        column_class=Timestamptz,
        params={
            "default": TimestamptzNow(),
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="DirectoryAuditLog",
        tablename="directory_audit_log",
        column_name="actor",
        db_column_name="actor",
        column_class_name="Varchar",
        column_class=Varchar,
        params={
            "length": 255,
            "default": None,
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="DirectoryAuditLog",
        tablename="directory_audit_log",
        column_name="reason",
        db_column_name="reason",
        column_class_name="Text",
        column_class=Text,
        params={
            "default": None,
            "null": True,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="DirectoryAuditLog",
        tablename="directory_audit_log",
        column_name="action",
        db_column_name="action",
        column_class_name="Varchar",
        column_class=Varchar,
        params={
            "length": 10,
            "default": None,
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": Enum(
                "AuditAction",
                {"INSERT": "INSERT", "UPDATE": "UPDATE", "DELETE": "DELETE"},
            ),
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="DirectoryAuditLog",
        tablename="directory_audit_log",
        column_name="table_name",
        db_column_name="table_name",
        column_class_name="Varchar",
        column_class=Varchar,
        params={
            "length": 63,
            "default": None,
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="DirectoryAuditLog",
        tablename="directory_audit_log",
        column_name="row_id",
        db_column_name="row_id",
        column_class_name="UUID",
        column_class=UUID,
        params={
            "default": None,
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="DirectoryAuditLog",
        tablename="directory_audit_log",
        column_name="member_id",
        db_column_name="member_id",
        column_class_name="Varchar",
        column_class=Varchar,
        params={
            "length": 20,
            "default": None,
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="DirectoryAuditLog",
        tablename="directory_audit_log",
        column_name="changes",
        db_column_name="changes",
        column_class_name="JSONB",
        column_class=JSONB,
        params={
            "default": None,
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="MemberRelationship",
        tablename="member_relationships",
        column_name="id",
        db_column_name="id",
        column_class_name="UUID",
        column_class=UUID,
        params={
            "default": UUID4(),
            "null": False,
            "primary_key": True,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="MemberRelationship",
        tablename="member_relationships",
        column_name="entity_id_a",
        db_column_name="entity_id_a",
        column_class_name="Varchar",
        column_class=Varchar,
        params={
            "length": 255,
            "default": None,
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="MemberRelationship",
        tablename="member_relationships",
        column_name="entity_id_b",
        db_column_name="entity_id_b",
        column_class_name="Varchar",
        column_class=Varchar,
        params={
            "length": 255,
            "default": None,
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="MemberRelationship",
        tablename="member_relationships",
        column_name="relationship_type",
        db_column_name="relationship_type",
        column_class_name="Varchar",
        column_class=Varchar,
        params={
            "length": 50,
            "default": None,
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="MemberRelationship",
        tablename="member_relationships",
        column_name="content",
        db_column_name="content",
        column_class_name="JSONB",
        column_class=JSONB,
        params={
            "default": "{}",
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="MemberRelationship",
        tablename="member_relationships",
        column_name="created_at",
        db_column_name="created_at",
        column_class_name="Timestamptz",
        column_class=Timestamptz,
        params={
            "default": TimestamptzNow(),
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="CommunityInvitation",
        tablename="community_invitations",
        column_name="invitation_id",
        db_column_name="invitation_id",
        column_class_name="UUID",
        column_class=UUID,
        params={
            "default": UUID4(),
            "null": False,
            "primary_key": True,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="CommunityInvitation",
        tablename="community_invitations",
        column_name="invitation_code",
        db_column_name="invitation_code",
        column_class_name="Varchar",
        column_class=Varchar,
        params={
            "length": 16,
            "default": None,
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="CommunityInvitation",
        tablename="community_invitations",
        column_name="created_by",
        db_column_name="created_by",
        column_class_name="ForeignKey",
        column_class=ForeignKey,
        params={
            "references": CommunityMember,
            "on_delete": OnDelete.restrict,
            "on_update": OnUpdate.restrict,
            "target_column": "member_id",
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="CommunityInvitation",
        tablename="community_invitations",
        column_name="invited_telegram_username",
        db_column_name="invited_telegram_username",
        column_class_name="Varchar",
        column_class=Varchar,
        params={
            "length": 255,
            "default": None,
            "null": True,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="CommunityInvitation",
        tablename="community_invitations",
        column_name="status",
        db_column_name="status",
        column_class_name="Varchar",
        column_class=Varchar,
        params={
            "length": 20,
            "default": "pending",
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": Enum(
                "InvitationStatus",
                {
                    "PENDING": "pending",
                    "ACCEPTED": "accepted",
                    "EXPIRED": "expired",
                    "CANCELLED": "cancelled",
                },
            ),
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="CommunityInvitation",
        tablename="community_invitations",
        column_name="expires_at",
        db_column_name="expires_at",
        column_class_name="Timestamptz",
        column_class=Timestamptz,
        params={
            "default": TimestamptzOffset(days=0, hours=72, minutes=0, seconds=0),
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="CommunityInvitation",
        tablename="community_invitations",
        column_name="accepted_by",
        db_column_name="accepted_by",
        column_class_name="ForeignKey",
        column_class=ForeignKey,
        params={
            "references": CommunityMember,
            "on_delete": OnDelete.restrict,
            "on_update": OnUpdate.restrict,
            "target_column": "member_id",
            "null": True,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="CommunityInvitation",
        tablename="community_invitations",
        column_name="accepted_at",
        db_column_name="accepted_at",
        column_class_name="Timestamptz",
        column_class=Timestamptz,
        params={
            "default": None,
            "null": True,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="CommunityInvitation",
        tablename="community_invitations",
        column_name="created_at",
        db_column_name="created_at",
        column_class_name="Timestamptz",
        column_class=Timestamptz,
        params={
            "default": TimestamptzNow(),
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="CommunityInvitation",
        tablename="community_invitations",
        column_name="updated_at",
        db_column_name="updated_at",
        column_class_name="Timestamptz",
        column_class=Timestamptz,
        params={
            "default": TimestamptzNow(),
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="MemberDailyHighlight",
        tablename="member_daily_highlights",
        column_name="id",
        db_column_name="id",
        column_class_name="UUID",
        column_class=UUID,
        params={
            "default": UUID4(),
            "null": False,
            "primary_key": True,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="MemberDailyHighlight",
        tablename="member_daily_highlights",
        column_name="member_id",
        db_column_name="member_id",
        column_class_name="ForeignKey",
        column_class=ForeignKey,
        params={
            "references": CommunityMember,
            "on_delete": OnDelete.restrict,
            "on_update": OnUpdate.restrict,
            "target_column": "member_id",
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="MemberDailyHighlight",
        tablename="member_daily_highlights",
        column_name="highlight_date",
        db_column_name="highlight_date",
        column_class_name="Date",
        column_class=Date,
        params={
            "default": None,
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="MemberDailyHighlight",
        tablename="member_daily_highlights",
        column_name="message_count",
        db_column_name="message_count",
        column_class_name="Integer",
        column_class=Integer,
        params={
            "default": 0,
            "null": True,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="MemberDailyHighlight",
        tablename="member_daily_highlights",
        column_name="reaction_count",
        db_column_name="reaction_count",
        column_class_name="Integer",
        column_class=Integer,
        params={
            "default": 0,
            "null": True,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="MemberDailyHighlight",
        tablename="member_daily_highlights",
        column_name="voice_minutes",
        db_column_name="voice_minutes",
        column_class_name="Integer",
        column_class=Integer,
        params={
            "default": 0,
            "null": True,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="MemberDailyHighlight",
        tablename="member_daily_highlights",
        column_name="reputation_earned",
        db_column_name="reputation_earned",
        column_class_name="Integer",
        column_class=Integer,
        params={
            "default": 0,
            "null": True,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="MemberDailyHighlight",
        tablename="member_daily_highlights",
        column_name="created_at",
        db_column_name="created_at",
        column_class_name="Timestamptz",
        column_class=Timestamptz,
        params={
            "default": TimestamptzNow(),
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="MemberParticipation",
        tablename="member_participation",
        column_name="id",
        db_column_name="id",
        column_class_name="UUID",
        column_class=UUID,
        params={
            "default": UUID4(),
            "null": False,
            "primary_key": True,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="MemberParticipation",
        tablename="member_participation",
        column_name="member_id",
        db_column_name="member_id",
        column_class_name="ForeignKey",
        column_class=ForeignKey,
        params={
            "references": CommunityMember,
            "on_delete": OnDelete.restrict,
            "on_update": OnUpdate.restrict,
            "target_column": "member_id",
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="MemberParticipation",
        tablename="member_participation",
        column_name="event_type",
        db_column_name="event_type",
        column_class_name="Varchar",
        column_class=Varchar,
        params={
            "length": 50,
            "default": None,
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="MemberParticipation",
        tablename="member_participation",
        column_name="platform",
        db_column_name="platform",
        column_class_name="Varchar",
        column_class=Varchar,
        params={
            "length": 50,
            "default": None,
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="MemberParticipation",
        tablename="member_participation",
        column_name="room_id",
        db_column_name="room_id",
        column_class_name="Varchar",
        column_class=Varchar,
        params={
            "length": 255,
            "default": None,
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="MemberParticipation",
        tablename="member_participation",
        column_name="event_metadata",
        db_column_name="event_metadata",
        column_class_name="JSONB",
        column_class=JSONB,
        params={
            "default": None,
            "null": True,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="MemberParticipation",
        tablename="member_participation",
        column_name="occurred_at",
        db_column_name="occurred_at",
        column_class_name="Timestamptz",
        column_class=Timestamptz,
        params={
            "default": TimestamptzNow(),
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="MemberParticipation",
        tablename="member_participation",
        column_name="source_id",
        db_column_name="source_id",
        column_class_name="Varchar",
        column_class=Varchar,
        params={
            "length": 255,
            "default": None,
            "null": True,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="CommunityMember",
        tablename="community_members",
        column_name="id",
        db_column_name="id",
        column_class_name="UUID",
        column_class=UUID,
        params={
            "default": UUID4(),
            "null": False,
            "primary_key": True,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="CommunityMember",
        tablename="community_members",
        column_name="member_id",
        db_column_name="member_id",
        column_class_name="Varchar",
        column_class=Varchar,
        params={
            "length": 20,
            "default": "",
            "null": False,
            "primary_key": False,
            "unique": True,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="CommunityMember",
        tablename="community_members",
        column_name="telegram_id",
        db_column_name="telegram_id",
        column_class_name="Varchar",
        column_class=Varchar,
        params={
            "length": 255,
            "default": None,
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="CommunityMember",
        tablename="community_members",
        column_name="telegram_username",
        db_column_name="telegram_username",
        column_class_name="Varchar",
        column_class=Varchar,
        params={
            "length": 255,
            "default": None,
            "null": True,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="CommunityMember",
        tablename="community_members",
        column_name="name",
        db_column_name="name",
        column_class_name="Varchar",
        column_class=Varchar,
        params={
            "length": 255,
            "default": None,
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="CommunityMember",
        tablename="community_members",
        column_name="primary_role",
        db_column_name="primary_role",
        column_class_name="Varchar",
        column_class=Varchar,
        params={
            "length": 50,
            "default": None,
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="CommunityMember",
        tablename="community_members",
        column_name="organization",
        db_column_name="organization",
        column_class_name="Varchar",
        column_class=Varchar,
        params={
            "length": 255,
            "default": None,
            "null": True,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="CommunityMember",
        tablename="community_members",
        column_name="country",
        db_column_name="country",
        column_class_name="Varchar",
        column_class=Varchar,
        params={
            "length": 100,
            "default": None,
            "null": True,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="CommunityMember",
        tablename="community_members",
        column_name="github_username",
        db_column_name="github_username",
        column_class_name="Varchar",
        column_class=Varchar,
        params={
            "length": 255,
            "default": None,
            "null": True,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="CommunityMember",
        tablename="community_members",
        column_name="github_verified",
        db_column_name="github_verified",
        column_class_name="Boolean",
        column_class=Boolean,
        params={
            "default": False,
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="CommunityMember",
        tablename="community_members",
        column_name="github_verified_at",
        db_column_name="github_verified_at",
        column_class_name="Timestamptz",
        column_class=Timestamptz,
        params={
            "default": None,
            "null": True,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="CommunityMember",
        tablename="community_members",
        column_name="github_profile_data",
        db_column_name="github_profile_data",
        column_class_name="JSONB",
        column_class=JSONB,
        params={
            "default": None,
            "null": True,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="CommunityMember",
        tablename="community_members",
        column_name="status",
        db_column_name="status",
        column_class_name="Varchar",
        column_class=Varchar,
        params={
            "length": 20,
            "default": "not_member",
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": Enum(
                "MemberStatus",
                {
                    "NOT_MEMBER": "not_member",
                    "PENDING": "pending",
                    "ACTIVE": "active",
                    "SUSPENDED": "suspended",
                    "BANNED": "banned",
                },
            ),
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="CommunityMember",
        tablename="community_members",
        column_name="reputation_score",
        db_column_name="reputation_score",
        column_class_name="Integer",
        column_class=Integer,
        params={
            "default": 0,
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="CommunityMember",
        tablename="community_members",
        column_name="reputation_tier",
        db_column_name="reputation_tier",
        column_class_name="Varchar",
        column_class=Varchar,
        params={
            "length": 50,
            "default": "Novice",
            "null": True,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": Enum(
                "ReputationTier",
                {
                    "NOVICE": "Novice",
                    "CONTRIBUTOR": "Contributor",
                    "ACTIVE_DEVELOPER": "Active Developer",
                    "EXPERIENCED": "Experienced",
                    "EXPERT": "Expert",
                },
            ),
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="CommunityMember",
        tablename="community_members",
        column_name="invited_by",
        db_column_name="invited_by",
        column_class_name="ForeignKey",
        column_class=ForeignKey,
        params={
            "references": "self",
            "on_delete": OnDelete.restrict,
            "on_update": OnUpdate.restrict,
            "target_column": "member_id",
            "null": True,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="CommunityMember",
        tablename="community_members",
        column_name="registration_fee_paid",
        db_column_name="registration_fee_paid",
        column_class_name="Boolean",
        column_class=Boolean,
        params={
            "default": False,
            "null": True,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="CommunityMember",
        tablename="community_members",
        column_name="registration_fee_tx_hash",
        db_column_name="registration_fee_tx_hash",
        column_class_name="Varchar",
        column_class=Varchar,
        params={
            "length": 255,
            "default": None,
            "null": True,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="CommunityMember",
        tablename="community_members",
        column_name="profile_data",
        db_column_name="profile_data",
        column_class_name="JSONB",
        column_class=JSONB,
        params={
            "default": None,
            "null": True,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="CommunityMember",
        tablename="community_members",
        column_name="created_at",
        db_column_name="created_at",
        column_class_name="Timestamptz",
        column_class=Timestamptz,
        params={
            "default": TimestamptzNow(),
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="CommunityMember",
        tablename="community_members",
        column_name="updated_at",
        db_column_name="updated_at",
        column_class_name="Timestamptz",
        column_class=Timestamptz,
        params={
            "default": TimestamptzNow(),
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="CommunityMember",
        tablename="community_members",
        column_name="last_active_at",
        db_column_name="last_active_at",
        column_class_name="Timestamptz",
        column_class=Timestamptz,
        params={
            "default": None,
            "null": True,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="CommunityMember",
        tablename="community_members",
        column_name="deleted_at",
        db_column_name="deleted_at",
        column_class_name="Timestamptz",
        column_class=Timestamptz,
        params={
            "default": None,
            "null": True,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="CommunityMember",
        tablename="community_members",
        column_name="reputation_shortfall",
        db_column_name="reputation_shortfall",
        column_class_name="Integer",
        column_class=Integer,
        params={
            "default": 0,
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="DirectoryAuditLog",
        tablename="directory_audit_log",
        constraint_name="audit_action_check",
        constraint_class=Check,
        params={"condition": "action IN ('INSERT', 'UPDATE', 'DELETE')"},
        schema=None,
    )

    manager.add_constraint(
        table_class_name="DirectoryAuditLog",
        tablename="directory_audit_log",
        constraint_name="audit_changes_check",
        constraint_class=Check,
        params={"condition": "jsonb_typeof(changes) = 'object'"},
        schema=None,
    )

    manager.add_constraint(
        table_class_name="DirectoryAuditLog",
        tablename="directory_audit_log",
        constraint_name="audit_changed_at_range_check",
        constraint_class=Check,
        params={
            "condition": "changed_at >= '2000-01-01 00:00Z' AND changed_at < '2200-01-01 00:00Z'"
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="MemberRelationship",
        tablename="member_relationships",
        constraint_name="relationship_entity_a_idx",
        constraint_class=Unique,
        params={
            "columns": ["entity_id_a", "entity_id_b", "relationship_type"],
            "nulls_distinct": True,
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="MemberRelationship",
        tablename="member_relationships",
        constraint_name="relationship_entity_a_check",
        constraint_class=Check,
        params={
            "condition": "entity_id_a ~ '^[^[:space:]\\u0085\\u00a0\\u1680\\u2000-\\u200f\\u2028\\u2029\\u202f\\u205f\\u3000\\ufeff]+$'"
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="MemberRelationship",
        tablename="member_relationships",
        constraint_name="relationship_entity_b_check",
        constraint_class=Check,
        params={
            "condition": "entity_id_b ~ '^[^[:space:]\\u0085\\u00a0\\u1680\\u2000-\\u200f\\u2028\\u2029\\u202f\\u205f\\u3000\\ufeff]+$'"
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="MemberRelationship",
        tablename="member_relationships",
        constraint_name="relationship_entities_check",
        constraint_class=Check,
        params={"condition": "entity_id_a <> entity_id_b"},
        schema=None,
    )

    manager.add_constraint(
        table_class_name="MemberRelationship",
        tablename="member_relationships",
        constraint_name="relationship_type_check",
        constraint_class=Check,
        params={"condition": "relationship_type ~ '^[A-Z][A-Z0-9_]*$'"},
        schema=None,
    )

    manager.add_constraint(
        table_class_name="MemberRelationship",
        tablename="member_relationships",
        constraint_name="relationship_content_check",
        constraint_class=Check,
        params={"condition": "jsonb_typeof(content) = 'object'"},
        schema=None,
    )

    manager.add_constraint(
        table_class_name="MemberRelationship",
        tablename="member_relationships",
        constraint_name="relationship_content_readable_check",
        constraint_class=Check,
        params={
            "condition": "octet_length(content::text) < 200 OR NOT (jsonb_path_exists(content, 'strict $.**{100} ? (@.type() == \"object\" || @.type() == \"array\")') OR jsonb_path_exists(content, 'strict $.** ? (@ > 1.7976931348623158e308 || @ < -1.7976931348623158e308)'))"
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="MemberRelationship",
        tablename="member_relationships",
        constraint_name="relationship_created_at_range_check",
        constraint_class=Check,
        params={
            "condition": "created_at >= '2000-01-01 00:00Z' AND created_at < '2200-01-01 00:00Z'"
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="CommunityInvitation",
        tablename="community_invitations",
        constraint_name="invitation_code_idx",
        constraint_class=Unique,
        params={"columns": ["invitation_code"], "nulls_distinct": True},
        schema=None,
    )

    manager.add_constraint(
        table_class_name="CommunityInvitation",
        tablename="community_invitations",
        constraint_name="invitation_code_check",
        constraint_class=Check,
        params={
            "condition": "length(invitation_code) >= 8 AND invitation_code ~ '^[A-Za-z0-9]+$'"
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="CommunityInvitation",
        tablename="community_invitations",
        constraint_name="invitation_username_check",
        constraint_class=Check,
        params={
            "condition": "invited_telegram_username ~ '^[^@[:space:]\\u0085\\u00a0\\u1680\\u2000-\\u200f\\u2028\\u2029\\u202f\\u205f\\u3000\\ufeff][^[:space:]\\u0085\\u00a0\\u1680\\u2000-\\u200f\\u2028\\u2029\\u202f\\u205f\\u3000\\ufeff]*$'"
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="CommunityInvitation",
        tablename="community_invitations",
        constraint_name="invitation_status_check",
        constraint_class=Check,
        params={
            "condition": "status IN ('pending', 'accepted', 'expired', 'cancelled')"
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="CommunityInvitation",
        tablename="community_invitations",
        constraint_name="invitation_accepted_by_check",
        constraint_class=Check,
        params={"condition": "(status = 'accepted') = (accepted_by IS NOT NULL)"},
        schema=None,
    )

    manager.add_constraint(
        table_class_name="CommunityInvitation",
        tablename="community_invitations",
        constraint_name="invitation_accepted_at_check",
        constraint_class=Check,
        params={"condition": "(accepted_by IS NULL) = (accepted_at IS NULL)"},
        schema=None,
    )

    manager.add_constraint(
        table_class_name="CommunityInvitation",
        tablename="community_invitations",
        constraint_name="invitation_self_check",
        constraint_class=Check,
        params={"condition": "accepted_by <> created_by"},
        schema=None,
    )

    manager.add_constraint(
        table_class_name="CommunityInvitation",
        tablename="community_invitations",
        constraint_name="invitation_expires_at_range_check",
        constraint_class=Check,
        params={
            "condition": "expires_at >= '2000-01-01 00:00Z' AND expires_at < '2200-01-01 00:00Z'"
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="CommunityInvitation",
        tablename="community_invitations",
        constraint_name="invitation_accepted_at_range_check",
        constraint_class=Check,
        params={
            "condition": "accepted_at >= '2000-01-01 00:00Z' AND accepted_at < '2200-01-01 00:00Z'"
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="CommunityInvitation",
        tablename="community_invitations",
        constraint_name="invitation_created_at_range_check",
        constraint_class=Check,
        params={
            "condition": "created_at >= '2000-01-01 00:00Z' AND created_at < '2200-01-01 00:00Z'"
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="CommunityInvitation",
        tablename="community_invitations",
        constraint_name="invitation_updated_at_range_check",
        constraint_class=Check,
        params={
            "condition": "updated_at >= '2000-01-01 00:00Z' AND updated_at < '2200-01-01 00:00Z'"
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="MemberDailyHighlight",
        tablename="member_daily_highlights",
        constraint_name="highlight_member_date_idx",
        constraint_class=Unique,
        params={
            "columns": ["member_id", "highlight_date"],
            "nulls_distinct": True,
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="MemberDailyHighlight",
        tablename="member_daily_highlights",
        constraint_name="highlight_message_count_check",
        constraint_class=Check,
        params={"condition": "message_count >= 0"},
        schema=None,
    )

    manager.add_constraint(
        table_class_name="MemberDailyHighlight",
        tablename="member_daily_highlights",
        constraint_name="highlight_reaction_count_check",
        constraint_class=Check,
        params={"condition": "reaction_count >= 0"},
        schema=None,
    )

    manager.add_constraint(
        table_class_name="MemberDailyHighlight",
        tablename="member_daily_highlights",
        constraint_name="highlight_voice_minutes_check",
        constraint_class=Check,
        params={"condition": "voice_minutes >= 0"},
        schema=None,
    )

    manager.add_constraint(
        table_class_name="MemberDailyHighlight",
        tablename="member_daily_highlights",
        constraint_name="highlight_reputation_earned_check",
        constraint_class=Check,
        params={"condition": "reputation_earned >= 0"},
        schema=None,
    )

    manager.add_constraint(
        table_class_name="MemberDailyHighlight",
        tablename="member_daily_highlights",
        constraint_name="highlight_date_range_check",
        constraint_class=Check,
        params={
            "condition": "highlight_date >= '1999-12-31' AND highlight_date <= '2200-01-01'"
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="MemberDailyHighlight",
        tablename="member_daily_highlights",
        constraint_name="highlight_created_at_range_check",
        constraint_class=Check,
        params={
            "condition": "created_at >= '2000-01-01 00:00Z' AND created_at < '2200-01-01 00:00Z'"
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="MemberParticipation",
        tablename="member_participation",
        constraint_name="participation_source_id_key",
        constraint_class=Unique,
        params={
            "columns": [
                "platform",
                "room_id",
                "source_id",
                "event_type",
                "member_id",
            ],
            "nulls_distinct": True,
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="MemberParticipation",
        tablename="member_participation",
        constraint_name="participation_event_type_check",
        constraint_class=Check,
        params={"condition": "event_type ~ '^[A-Z][A-Z0-9_]*$'"},
        schema=None,
    )

    manager.add_constraint(
        table_class_name="MemberParticipation",
        tablename="member_participation",
        constraint_name="participation_platform_check",
        constraint_class=Check,
        params={"condition": "platform ~ '^[a-z][a-z0-9_]*$'"},
        schema=None,
    )

    manager.add_constraint(
        table_class_name="MemberParticipation",
        tablename="member_participation",
        constraint_name="participation_room_id_check",
        constraint_class=Check,
        params={
            "condition": "room_id ~ '[^[:space:]\\u0085\\u00a0\\u1680\\u2000-\\u200f\\u2028\\u2029\\u202f\\u205f\\u3000\\ufeff]'"
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="MemberParticipation",
        tablename="member_participation",
        constraint_name="participation_source_id_check",
        constraint_class=Check,
        params={
            "condition": "source_id ~ '[^[:space:]\\u0085\\u00a0\\u1680\\u2000-\\u200f\\u2028\\u2029\\u202f\\u205f\\u3000\\ufeff]'"
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="MemberParticipation",
        tablename="member_participation",
        constraint_name="participation_event_metadata_check",
        constraint_class=Check,
        params={"condition": "jsonb_typeof(event_metadata) = 'object'"},
        schema=None,
    )

    manager.add_constraint(
        table_class_name="MemberParticipation",
        tablename="member_participation",
        constraint_name="participation_event_metadata_readable_check",
        constraint_class=Check,
        params={
            "condition": "octet_length(event_metadata::text) < 200 OR NOT (jsonb_path_exists(event_metadata, 'strict $.**{100} ? (@.type() == \"object\" || @.type() == \"array\")') OR jsonb_path_exists(event_metadata, 'strict $.** ? (@ > 1.7976931348623158e308 || @ < -1.7976931348623158e308)'))"
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="MemberParticipation",
        tablename="member_participation",
        constraint_name="participation_occurred_at_range_check",
        constraint_class=Check,
        params={
            "condition": "occurred_at >= '2000-01-01 00:00Z' AND occurred_at < '2200-01-01 00:00Z'"
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="CommunityMember",
        tablename="community_members",
        constraint_name="member_telegram_id_idx",
        constraint_class=Unique,
        params={"columns": ["telegram_id"], "nulls_distinct": True},
        schema=None,
    )

    manager.add_constraint(
        table_class_name="CommunityMember",
        tablename="community_members",
        constraint_name="member_number_check",
        constraint_class=Check,
        params={"condition": "member_id ~ '^#[1-9][0-9]*$'"},
        schema=None,
    )

    manager.add_constraint(
        table_class_name="CommunityMember",
        tablename="community_members",
        constraint_name="member_telegram_id_check",
        constraint_class=Check,
        params={
            "condition": "telegram_id ~ '^[^[:space:]\\u0085\\u00a0\\u1680\\u2000-\\u200f\\u2028\\u2029\\u202f\\u205f\\u3000\\ufeff]+$'"
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="CommunityMember",
        tablename="community_members",
        constraint_name="member_telegram_username_check",
        constraint_class=Check,
        params={
            "condition": "telegram_username ~ '^[^@[:space:]\\u0085\\u00a0\\u1680\\u2000-\\u200f\\u2028\\u2029\\u202f\\u205f\\u3000\\ufeff][^[:space:]\\u0085\\u00a0\\u1680\\u2000-\\u200f\\u2028\\u2029\\u202f\\u205f\\u3000\\ufeff]*$'"
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="CommunityMember",
        tablename="community_members",
        constraint_name="member_name_check",
        constraint_class=Check,
        params={
            "condition": "name ~ '[^[:space:]\\u0085\\u00a0\\u1680\\u2000-\\u200f\\u2028\\u2029\\u202f\\u205f\\u3000\\ufeff]'"
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="CommunityMember",
        tablename="community_members",
        constraint_name="member_primary_role_check",
        constraint_class=Check,
        params={
            "condition": "primary_role ~ '[^[:space:]\\u0085\\u00a0\\u1680\\u2000-\\u200f\\u2028\\u2029\\u202f\\u205f\\u3000\\ufeff]'"
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="CommunityMember",
        tablename="community_members",
        constraint_name="member_github_username_check",
        constraint_class=Check,
        params={
            "condition": "github_username ~ '^[^@[:space:]\\u0085\\u00a0\\u1680\\u2000-\\u200f\\u2028\\u2029\\u202f\\u205f\\u3000\\ufeff][^[:space:]\\u0085\\u00a0\\u1680\\u2000-\\u200f\\u2028\\u2029\\u202f\\u205f\\u3000\\ufeff]*$'"
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="CommunityMember",
        tablename="community_members",
        constraint_name="member_github_verified_check",
        constraint_class=Check,
        params={
            "condition": "NOT github_verified OR (github_username IS NOT NULL AND github_verified_at IS NOT NULL)"
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="CommunityMember",
        tablename="community_members",
        constraint_name="member_github_profile_data_check",
        constraint_class=Check,
        params={"condition": "jsonb_typeof(github_profile_data) = 'object'"},
        schema=None,
    )

    manager.add_constraint(
        table_class_name="CommunityMember",
        tablename="community_members",
        constraint_name="member_status_check",
        constraint_class=Check,
        params={
            "condition": "status IN ('not_member', 'pending', 'active', 'suspended', 'banned')"
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="CommunityMember",
        tablename="community_members",
        constraint_name="member_reputation_score_check",
        constraint_class=Check,
        params={"condition": "reputation_score >= 0"},
        schema=None,
    )

    manager.add_constraint(
        table_class_name="CommunityMember",
        tablename="community_members",
        constraint_name="member_reputation_shortfall_check",
        constraint_class=Check,
        params={"condition": "reputation_shortfall >= 0"},
        schema=None,
    )

    manager.add_constraint(
        table_class_name="CommunityMember",
        tablename="community_members",
        constraint_name="member_reputation_tier_check",
        constraint_class=Check,
        params={
            "condition": "reputation_tier IN ('Novice', 'Contributor', 'Active Developer', 'Experienced', 'Expert')"
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="CommunityMember",
        tablename="community_members",
        constraint_name="member_invited_by_check",
        constraint_class=Check,
        params={"condition": "invited_by <> member_id"},
        schema=None,
    )

    manager.add_constraint(
        table_class_name="CommunityMember",
        tablename="community_members",
        constraint_name="member_profile_data_check",
        constraint_class=Check,
        params={"condition": "jsonb_typeof(profile_data) = 'object'"},
        schema=None,
    )

    manager.add_constraint(
        table_class_name="CommunityMember",
        tablename="community_members",
        constraint_name="member_github_profile_data_readable_check",
        constraint_class=Check,
        params={
            "condition": "octet_length(github_profile_data::text) < 200 OR NOT (jsonb_path_exists(github_profile_data, 'strict $.**{100} ? (@.type() == \"object\" || @.type() == \"array\")') OR jsonb_path_exists(github_profile_data, 'strict $.** ? (@ > 1.7976931348623158e308 || @ < -1.7976931348623158e308)'))"
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="CommunityMember",
        tablename="community_members",
        constraint_name="member_profile_data_readable_check",
        constraint_class=Check,
        params={
            "condition": "octet_length(profile_data::text) < 200 OR NOT (jsonb_path_exists(profile_data, 'strict $.**{100} ? (@.type() == \"object\" || @.type() == \"array\")') OR jsonb_path_exists(profile_data, 'strict $.** ? (@ > 1.7976931348623158e308 || @ < -1.7976931348623158e308)'))"
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="CommunityMember",
        tablename="community_members",
        constraint_name="member_github_verified_at_range_check",
        constraint_class=Check,
        params={
            "condition": "github_verified_at >= '2000-01-01 00:00Z' AND github_verified_at < '2200-01-01 00:00Z'"
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="CommunityMember",
        tablename="community_members",
        constraint_name="member_created_at_range_check",
        constraint_class=Check,
        params={
            "condition": "created_at >= '2000-01-01 00:00Z' AND created_at < '2200-01-01 00:00Z'"
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="CommunityMember",
        tablename="community_members",
        constraint_name="member_updated_at_range_check",
        constraint_class=Check,
        params={
            "condition": "updated_at >= '2000-01-01 00:00Z' AND updated_at < '2200-01-01 00:00Z'"
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="CommunityMember",
        tablename="community_members",
        constraint_name="member_last_active_at_range_check",
        constraint_class=Check,
        params={
            "condition": "last_active_at >= '2000-01-01 00:00Z' AND last_active_at < '2200-01-01 00:00Z'"
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="CommunityMember",
        tablename="community_members",
        constraint_name="member_deleted_at_range_check",
        constraint_class=Check,
        params={
            "condition": "deleted_at >= '2000-01-01 00:00Z' AND deleted_at < '2200-01-01 00:00Z'"
        },
        schema=None,
    )

    return manager

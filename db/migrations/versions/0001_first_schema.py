"""The first schema: sites, parts, runs and what was found out in them."""

import sqlalchemy as sa
from alembic import op

from db.migrations import append_only

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

UTC_TIME = sa.DateTime(timezone=True)
BIG_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
FINITE = "{0} BETWEEN -1.7976931348623157e+308 AND 1.7976931348623157e+308"
VERDICTS = "verdict IN ('pass', 'flag', 'fail', 'unknown')"


def upgrade() -> None:
    """Create every table, then make them append-only."""
    _create_site()
    _create_station()
    _create_operator()
    _create_part()
    _create_recipe()
    _create_run()
    _create_run_end()
    _create_assembly()
    _create_reading()
    _create_attachment()
    _create_curve()
    _create_picture()
    _create_finding()
    _create_event()
    _create_outbox()
    append_only.prepare()
    for table in (
        "site",
        "station",
        "operator",
        "part",
        "recipe",
        "run",
        "run_end",
        "assembly",
        "reading",
        "attachment",
        "curve",
        "picture",
        "finding",
        "event",
    ):
        append_only.refuse_changes(table)
    append_only.freeze_columns("outbox", ["seq", "table_name", "fact_id", "made_at"])


def _reference(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [target], name=op.f(f"fk_{table}_{column}"))


def _check(table: str, name: str, sql: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(sql, name=op.f(f"ck_{table}_{name}"))


def _create_site() -> None:
    op.create_table(
        "site",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_site")),
        sa.UniqueConstraint("name", name=op.f("uq_site_name")),
        _check("site", "name_not_blank", "trim(name) <> ''"),
    )


def _create_station() -> None:
    op.create_table(
        "station",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("site_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_station")),
        _reference("station", "site_id", "site.id"),
        sa.UniqueConstraint("site_id", "name", name=op.f("uq_station_site_id_name")),
        _check("station", "name_not_blank", "trim(name) <> ''"),
    )


def _create_operator() -> None:
    op.create_table(
        "operator",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("site_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operator")),
        _reference("operator", "site_id", "site.id"),
        sa.UniqueConstraint("site_id", "name", name=op.f("uq_operator_site_id_name")),
        _check("operator", "name_not_blank", "trim(name) <> ''"),
    )


def _create_part() -> None:
    op.create_table(
        "part",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("label", sa.String()),
        sa.Column("subtype", sa.String(), nullable=False),
        sa.Column("site_id", sa.Uuid(), nullable=False),
        sa.Column("made_at", UTC_TIME),
        sa.Column("note", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_part")),
        _reference("part", "site_id", "site.id"),
        sa.UniqueConstraint("label", name=op.f("uq_part_label")),
        _check(
            "part",
            "kind_known",
            "kind IN ('tile', 'wrapped_tile', 'sipm', 'tileboard', 'tile_module', "
            "'motherboard', 'tester')",
        ),
        _check("part", "label_not_blank", "trim(label) <> ''"),
    )


def _create_recipe() -> None:
    op.create_table(
        "recipe",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recipe")),
        sa.UniqueConstraint("sha256", name=op.f("uq_recipe_sha256")),
        _check("recipe", "name_not_blank", "trim(name) <> ''"),
        _check("recipe", "version_not_blank", "trim(version) <> ''"),
        _check("recipe", "sha256_complete", "length(sha256) = 64 AND lower(sha256) = sha256"),
    )


def _create_run() -> None:
    op.create_table(
        "run",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("procedure", sa.String(), nullable=False),
        sa.Column("part_id", sa.Uuid(), nullable=False),
        sa.Column("recipe_id", sa.Uuid(), nullable=False),
        sa.Column("operator_id", sa.Uuid(), nullable=False),
        sa.Column("station_id", sa.Uuid(), nullable=False),
        sa.Column("started_at", UTC_TIME, nullable=False),
        sa.Column("software_version", sa.String(), nullable=False),
        sa.Column("instruments", sa.JSON(), nullable=False),
        sa.Column("calibration", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run")),
        _reference("run", "part_id", "part.id"),
        _reference("run", "recipe_id", "recipe.id"),
        _reference("run", "operator_id", "operator.id"),
        _reference("run", "station_id", "station.id"),
        _check("run", "procedure_not_blank", "trim(procedure) <> ''"),
        _check("run", "software_version_not_blank", "trim(software_version) <> ''"),
    )
    op.create_index(op.f("ix_run_part_id"), "run", ["part_id"])
    op.create_index(op.f("ix_run_station_id"), "run", ["station_id"])
    op.create_index(op.f("ix_run_started_at"), "run", ["started_at"])


def _create_run_end() -> None:
    op.create_table(
        "run_end",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("at", UTC_TIME, nullable=False),
        sa.Column("ending", sa.String(), nullable=False),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_run_end")),
        _reference("run_end", "run_id", "run.id"),
        _check(
            "run_end",
            "ending_known",
            "ending IN ('done', 'refused', 'aborted', 'failed', 'tripped', "
            "'lost_instrument', 'interrupted')",
        ),
        _check("run_end", "verdict_known", VERDICTS),
        _check(
            "run_end",
            "reasons_given",
            "(ending = 'done' AND verdict <> 'unknown') OR json_array_length(reasons) > 0",
        ),
        _check("run_end", "pass_is_done", "ending = 'done' OR verdict <> 'pass'"),
    )


def _create_assembly() -> None:
    op.create_table(
        "assembly",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("parent_id", sa.Uuid(), nullable=False),
        sa.Column("child_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.String(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("x_mm", sa.Float()),
        sa.Column("y_mm", sa.Float()),
        sa.Column("rotation_rad", sa.Float()),
        sa.Column("sigma_mm", sa.Float()),
        sa.Column("sigma_rad", sa.Float()),
        sa.Column("at", UTC_TIME, nullable=False),
        sa.Column("supersedes", sa.Uuid()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_assembly")),
        _reference("assembly", "parent_id", "part.id"),
        _reference("assembly", "child_id", "part.id"),
        _reference("assembly", "run_id", "run.id"),
        _reference("assembly", "supersedes", "assembly.id"),
        _check("assembly", "position_not_blank", "trim(position) <> ''"),
        _check("assembly", "child_id_not_parent_id", "child_id <> parent_id"),
        _check("assembly", "supersedes_not_id", "supersedes <> id"),
        _check("assembly", "x_mm_finite", FINITE.format("x_mm")),
        _check("assembly", "y_mm_finite", FINITE.format("y_mm")),
        _check("assembly", "rotation_rad_finite", FINITE.format("rotation_rad")),
        _check("assembly", "sigma_mm_finite", FINITE.format("sigma_mm")),
        _check("assembly", "sigma_rad_finite", FINITE.format("sigma_rad")),
        _check("assembly", "sigma_mm_not_negative", "sigma_mm >= 0"),
        _check("assembly", "sigma_rad_not_negative", "sigma_rad >= 0"),
        _check(
            "assembly",
            "place_has_sigma",
            "(x_mm IS NULL) = (y_mm IS NULL) AND (x_mm IS NULL OR sigma_mm IS NOT NULL)",
        ),
    )
    op.create_index(op.f("ix_assembly_parent_id"), "assembly", ["parent_id"])
    op.create_index(op.f("ix_assembly_supersedes"), "assembly", ["supersedes"])
    op.create_index(op.f("ix_assembly_child_id"), "assembly", ["child_id"])


def _create_reading() -> None:
    op.create_table(
        "reading",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("part_id", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.Integer()),
        sa.Column("quantity", sa.String(), nullable=False),
        sa.Column("value", sa.Float()),
        sa.Column("sigma", sa.Float()),
        sa.Column("unit", sa.String(), nullable=False),
        sa.Column("method", sa.String(), nullable=False),
        sa.Column("low", sa.Float()),
        sa.Column("high", sa.Float()),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.Column("conditions", sa.JSON(), nullable=False),
        sa.Column("at", UTC_TIME, nullable=False),
        sa.Column("supersedes", sa.Uuid()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reading")),
        _reference("reading", "run_id", "run.id"),
        _reference("reading", "part_id", "part.id"),
        _reference("reading", "supersedes", "reading.id"),
        _check("reading", "quantity_not_blank", "trim(quantity) <> ''"),
        _check("reading", "method_not_blank", "trim(method) <> ''"),
        _check("reading", "channel_not_negative", "channel >= 0"),
        _check("reading", "value_finite", FINITE.format("value")),
        _check("reading", "sigma_finite", FINITE.format("sigma")),
        _check("reading", "low_finite", FINITE.format("low")),
        _check("reading", "high_finite", FINITE.format("high")),
        _check("reading", "sigma_not_negative", "sigma >= 0"),
        _check("reading", "verdict_known", VERDICTS),
        _check("reading", "supersedes_not_id", "supersedes <> id"),
        _check("reading", "value_has_sigma", "(value IS NULL) = (sigma IS NULL)"),
        _check(
            "reading",
            "unknown_has_reason",
            "(value IS NOT NULL AND verdict <> 'unknown') OR json_array_length(reasons) > 0",
        ),
        _check("reading", "pass_has_value", "value IS NOT NULL OR verdict <> 'pass'"),
        _check("reading", "limits_in_order", "low <= high"),
    )
    op.create_index(
        op.f("ix_reading_part_id_quantity_channel"), "reading", ["part_id", "quantity", "channel"]
    )
    op.create_index(op.f("ix_reading_run_id"), "reading", ["run_id"])
    op.create_index(op.f("ix_reading_supersedes"), "reading", ["supersedes"])


def _create_attachment() -> None:
    op.create_table(
        "attachment",
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("size_bytes", BIG_INTEGER, nullable=False),
        sa.Column("media_type", sa.String(), nullable=False),
        sa.Column("made_at", UTC_TIME, nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_attachment")),
        _check("attachment", "sha256_complete", "length(sha256) = 64 AND lower(sha256) = sha256"),
        _check("attachment", "size_bytes_not_negative", "size_bytes >= 0"),
        _check("attachment", "media_type_not_blank", "trim(media_type) <> ''"),
    )


def _create_curve() -> None:
    op.create_table(
        "curve",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("part_id", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.Integer()),
        sa.Column("quantity", sa.String(), nullable=False),
        sa.Column("x_unit", sa.String(), nullable=False),
        sa.Column("y_unit", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("meta", sa.JSON(), nullable=False),
        sa.Column("at", UTC_TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_curve")),
        _reference("curve", "run_id", "run.id"),
        _reference("curve", "part_id", "part.id"),
        _reference("curve", "sha256", "attachment.sha256"),
        _check("curve", "quantity_not_blank", "trim(quantity) <> ''"),
        _check("curve", "channel_not_negative", "channel >= 0"),
    )
    op.create_index(op.f("ix_curve_run_id"), "curve", ["run_id"])
    op.create_index(op.f("ix_curve_part_id"), "curve", ["part_id"])


def _create_picture() -> None:
    op.create_table(
        "picture",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("part_id", sa.Uuid(), nullable=False),
        sa.Column("purpose", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("media_type", sa.String(), nullable=False),
        sa.Column("mm_per_px", sa.Float()),
        sa.Column("pose", sa.JSON(), nullable=False),
        sa.Column("at", UTC_TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_picture")),
        _reference("picture", "run_id", "run.id"),
        _reference("picture", "part_id", "part.id"),
        _reference("picture", "sha256", "attachment.sha256"),
        _check("picture", "purpose_not_blank", "trim(purpose) <> ''"),
        _check("picture", "mm_per_px_finite", FINITE.format("mm_per_px")),
        _check("picture", "mm_per_px_positive", "mm_per_px > 0"),
    )
    op.create_index(op.f("ix_picture_part_id"), "picture", ["part_id"])
    op.create_index(op.f("ix_picture_run_id"), "picture", ["run_id"])


def _create_finding() -> None:
    op.create_table(
        "finding",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("part_id", sa.Uuid(), nullable=False),
        sa.Column("picture_id", sa.Uuid()),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("x_mm", sa.Float()),
        sa.Column("y_mm", sa.Float()),
        sa.Column("area_mm2", sa.Float()),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("at", UTC_TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_finding")),
        _reference("finding", "run_id", "run.id"),
        _reference("finding", "part_id", "part.id"),
        _reference("finding", "picture_id", "picture.id"),
        _check("finding", "kind_not_blank", "trim(kind) <> ''"),
        _check("finding", "x_mm_finite", FINITE.format("x_mm")),
        _check("finding", "y_mm_finite", FINITE.format("y_mm")),
        _check("finding", "area_mm2_finite", FINITE.format("area_mm2")),
        _check("finding", "area_mm2_not_negative", "area_mm2 >= 0"),
        _check("finding", "verdict_known", VERDICTS),
        _check("finding", "unknown_has_reason", "verdict <> 'unknown' OR trim(text) <> ''"),
    )
    op.create_index(op.f("ix_finding_run_id"), "finding", ["run_id"])
    op.create_index(op.f("ix_finding_part_id"), "finding", ["part_id"])


def _create_event() -> None:
    op.create_table(
        "event",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid()),
        sa.Column("station_id", sa.Uuid(), nullable=False),
        sa.Column("at", UTC_TIME, nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event")),
        _reference("event", "run_id", "run.id"),
        _reference("event", "station_id", "station.id"),
        _check(
            "event",
            "kind_known",
            "kind IN ('note', 'ask', 'answer', 'trip', 'reset', 'recovery', 'error')",
        ),
    )
    op.create_index(op.f("ix_event_run_id"), "event", ["run_id"])
    op.create_index(op.f("ix_event_station_id_at"), "event", ["station_id", "at"])


def _create_outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("seq", BIG_INTEGER, autoincrement=True, nullable=False),
        sa.Column("table_name", sa.String(), nullable=False),
        sa.Column("fact_id", sa.String(), nullable=False),
        sa.Column("made_at", UTC_TIME, nullable=False),
        sa.Column("sent_at", UTC_TIME),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_outbox")),
        sa.UniqueConstraint("table_name", "fact_id", name=op.f("uq_outbox_table_name_fact_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_outbox_sent_at_seq"), "outbox", ["sent_at", "seq"])

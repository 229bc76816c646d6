"""What every run keeps of the line's configuration."""

import tomllib

from sqlmodel import select

import db
from db import Store
from station.configuration import PROFILE_MEDIA_TYPE, keep_profile
from station.events import Note, Procedure
from station.line import Line
from station.profile import Profile
from station.run_record import Crew
from station.runner import Order, Runner


def nothing() -> Procedure:
    yield Note("nothing was done")


def a_run(line: Line, store: Store, crew: Crew, module: db.Part) -> db.Run:
    recipe = store.ensure_recipe(db.Recipe(name="none", version="1", sha256="0" * 64, content={}))
    runner = Runner(
        line, store, crew, listener=lambda message: None, answer=lambda ask: ask.default
    )
    ended = runner.run(Order("nothing", nothing(), module, recipe.id))
    with store.session() as session:
        run = session.exec(select(db.Run).where(db.Run.id == ended.run_id)).one()
        session.expunge(run)
    return run


def test_a_run_keeps_identities_limits_calibration_and_the_whole_profile(
    line: Line, store: Store, crew: Crew, module: db.Part
) -> None:
    run = a_run(line, store, crew, module)
    assert set(run.instruments) == {"bias", "readout", "gantry", "camera"}
    for what in run.instruments.values():
        assert {"maker", "model", "serial", "firmware", "port"} <= set(what)
    assert run.instruments["bias"]["max_voltage_v"] == line.profile.bias.max_voltage_v
    assert run.instruments["bias"]["compliance_a"] == line.profile.bias.compliance_a
    assert run.calibration["camera"]["mm_per_px"] == line.profile.camera.mm_per_px
    kept = store.read_attachment(run.calibration["profile"]["sha256"])
    assert Profile.model_validate_json(
        Profile.model_validate(tomllib.loads(kept.decode())).model_dump_json()
    ) == (line.profile)


def test_the_profile_is_stored_once_however_many_runs_use_it(
    line: Line, store: Store, crew: Crew, module: db.Part
) -> None:
    first = a_run(line, store, crew, module)
    second = a_run(line, store, crew, module)
    assert first.calibration["profile"] == second.calibration["profile"]
    with store.session() as session:
        kept = session.exec(
            select(db.Attachment).where(db.Attachment.media_type == PROFILE_MEDIA_TYPE)
        ).all()
    assert len(kept) == 1
    other = line.profile.model_copy(
        update={"tray": line.profile.tray.model_copy(update={"pitch_mm": 65.0})}
    )
    assert keep_profile(store, other) != first.calibration["profile"]

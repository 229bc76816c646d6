import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db import Attachment, Picture, Store, StoreError, open_store
from db.files import keep, read

Outbox = Callable[[], list[tuple[str, str]]]
SHA256_OF_PIXELS = hashlib.sha256(b"pixels").hexdigest()


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_file_lies_under_the_hash_of_its_content(store: Store, outbox: Outbox) -> None:
    assert store.attach(b"pixels", "image/png") == SHA256_OF_PIXELS
    path = store.attachments / SHA256_OF_PIXELS[:2] / SHA256_OF_PIXELS[2:4] / SHA256_OF_PIXELS
    assert path.read_bytes() == b"pixels"
    assert store.attachment_path(SHA256_OF_PIXELS) == path
    assert store.read_attachment(SHA256_OF_PIXELS) == b"pixels"
    assert outbox() == [("attachment", SHA256_OF_PIXELS)]


def test_the_same_content_is_stored_once(store: Store, outbox: Outbox) -> None:
    store.attach(b"pixels", "image/png")
    path = store.attachment_path(SHA256_OF_PIXELS)
    before = path.stat()
    shas = store.attach_all([(b"pixels", "image/png"), (b"", "text/plain")] * 2)
    assert shas == [SHA256_OF_PIXELS, hashlib.sha256(b"").hexdigest()] * 2
    assert path.stat().st_ino == before.st_ino
    assert len(files_in(store.attachments)) == 2
    assert len(outbox()) == 2


def test_the_same_content_cannot_be_two_kinds_of_file(store: Store, outbox: Outbox) -> None:
    store.attach(b"pixels", "image/png")
    with pytest.raises(StoreError, match="is image/png, not text/plain"):
        store.attach(b"pixels", "text/plain")
    with pytest.raises(StoreError, match=r"is (a/a|b/b), not (a/a|b/b)"):
        store.attach_all([(b"new", "a/a"), (b"new", "b/b")])
    assert outbox() == [("attachment", SHA256_OF_PIXELS)]


def test_a_changed_file_is_noticed_and_mended_when_it_comes_again(sqlite_store: Store) -> None:
    sha256 = sqlite_store.attach(b"pixels", "image/png")
    sqlite_store.attachment_path(sha256).write_bytes(b"pixelz")
    with pytest.raises(StoreError, match="does not match its name") as refusal:
        sqlite_store.read_attachment(sha256)
    assert sha256 in str(refusal.value)
    sqlite_store.attach(b"pixels", "image/png")
    assert sqlite_store.read_attachment(sha256) == b"pixels"


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "AB" * 32, "ab" * 31, "ab" * 32 + "\n"])
def test_only_a_hash_names_an_attachment(sqlite_store: Store, name: str) -> None:
    with pytest.raises(StoreError, match="not a SHA-256"):
        sqlite_store.read_attachment(name)


def test_a_missing_attachment_is_refused_with_its_path(sqlite_store: Store) -> None:
    with pytest.raises(StoreError, match=r"No such file.*ab/ab/ab"):
        sqlite_store.read_attachment("ab" * 32)


def test_a_picture_needs_its_file(line: Any) -> None:
    picture = Picture(
        run_id=line.run.id,
        part_id=line.board.id,
        purpose="look",
        sha256="cd" * 32,
        media_type="image/png",
        at=line.now(),
    )
    with pytest.raises(StoreError, match="there is no attachment cdcd"):
        line.store.record(picture)


def test_attachments_are_not_recorded_without_their_bytes(store: Store) -> None:
    row = Attachment(sha256="ab" * 32, size_bytes=1, media_type="a/b", made_at=datetime.now(UTC))
    with pytest.raises(StoreError, match="stored by attach"):
        store.record(row)


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_disk_that_refuses_leaves_nothing_half_written(
    sqlite_store: Store, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, failing, full)
        with pytest.raises(StoreError, match="No space left on device"):
            sqlite_store.attach(b"pixels", "image/png")
    assert files_in(sqlite_store.attachments) == []
    assert sqlite_store.unsent() == []
    sqlite_store.attach(b"pixels", "image/png")
    assert sqlite_store.read_attachment(SHA256_OF_PIXELS) == b"pixels"


FILL = """
import resource, sys
from pathlib import Path
from db import StoreError, open_store

folder = Path(sys.argv[1])
store = open_store(folder / "records.db", folder / "attachments")
store.attach(b"small", "a/b")
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    store.attach(b"x" * 300_000, "a/b")
except StoreError as error:
    print("file:", error)
stored = 0
try:
    for number in range(100_000):
        store.attach_all([(b"%d %d" % (number, part), "a/b") for part in range(20)])
        stored += 20
except StoreError as error:
    print("database:", error)
print(stored)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on file sizes to set")
def test_a_full_disk_is_refused_and_what_was_stored_stays(
    tmp_path: Path, python_path: dict[str, str]
) -> None:
    run = subprocess.run(
        [sys.executable, "-c", FILL, str(tmp_path)],
        env=python_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    file_line, database_line, stored = run.stdout.splitlines()
    assert file_line.startswith("file: cannot store an attachment: File too large")
    assert database_line.startswith("database: ")
    assert str(tmp_path / "records.db") in database_line
    with open_store(tmp_path / "records.db", tmp_path / "attachments") as store:
        sent = [row.fact_id for row in store.unsent(1_000_000)]
        assert len(sent) == len(set(sent)) == int(stored) + 1
        for sha256 in sent[-20:]:
            store.read_attachment(sha256)
    parts = [path for path in files_in(tmp_path / "attachments") if path.suffix == ".part"]
    assert parts == []


def test_threads_that_store_the_same_file_do_not_disturb_each_other(
    store: Store, outbox: Outbox
) -> None:
    start = threading.Barrier(6)
    failures: list[BaseException] = []

    def attach() -> None:
        start.wait()
        try:
            for number in range(5):
                store.attach(b"the same %d" % number, "a/b")
        except StoreError as error:
            failures.append(error)

    threads = [threading.Thread(target=attach) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(outbox()) == len(files_in(store.attachments)) == 5


@given(st.binary(max_size=200))
def test_what_is_kept_is_read_back(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.getbasetemp() / "kept"
    assert read(folder, keep(folder, data)) == data

"""Stores in S3."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.database.settings import Settings
from pipeline.transfer import operations
from pipeline.transfer.archive import Archive
from tests.pipeline.transfer.content import (
    Made,
    content_of,
    drop,
    objects_of,
    opened,
)

pytestmark = pytest.mark.database


@pytest.fixture
def in_bucket(empty: Settings, object_store: str) -> Settings:
    settings = Settings.model_validate(
        {
            **empty.model_dump(by_alias=True),
            "store": f"s3://bucket-{empty.schema_name.replace('_', '-')}/a/prefix",
            "store_endpoint": object_store,
            "store_access_key": "access",
            "store_secret_key": "secret",
        }
    )
    root = settings.store_root()
    root.fs.mkdir(str(root.path).split("/")[0])
    return settings


def test_a_bucket_and_a_folder_hold_the_same(
    filled: Settings, in_bucket: Settings, new_tables: Made, tmp_path: Path
) -> None:
    operations.copy_database(filled, in_bucket)
    assert content_of(in_bucket) == content_of(filled)
    again = operations.copy_database(filled, in_bucket)
    assert (again.rows, again.objects) == (0, 0)
    root = in_bucket.store_root()
    # Another schema's, whose name begins like this one's.
    root.fs.pipe_file(f"{root.path}/_schema/{in_bucket.schema_name}_2/scan/its.npy", b"x")
    lost, short = sorted(root.fs.find(f"{root.path}/_schema/{in_bucket.schema_name}"))[:2]
    size = root.fs.size(short)
    with opened(in_bucket) as database:
        file = tmp_path / "bucket.zip"
        operations.backup_database(database, file)
        root.fs.rm_file(lost)
        root.fs.pipe_file(short, b"x" * size)
        root.fs.pipe_file(f"{root.path}/_schema/{in_bucket.schema_name}/scan/lost.npy", b"x")
        report = operations.check_database(database, orphan_age=timedelta(seconds=-60))
        assert sorted(p.kind for p in report.problems) == ["checksum", "missing", "orphan"]
        operations.check_database(database, remove_orphans=True, orphan_age=timedelta(seconds=-60))
        assert operations.restore_database(database, file).objects == 2
        assert operations.check_database(database).problems == []
    assert content_of(in_bucket) == content_of(filled)
    back = new_tables(tmp_path / "back")
    try:
        operations.copy_database(in_bucket, back)
        assert content_of(back) == content_of(filled)
    finally:
        drop(back)
    with Archive(file) as archive:
        assert len(archive.manifest.objects) == len(objects_of(filled))

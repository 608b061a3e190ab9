"""The tables of an embedded folder and the versions they went through."""

from __future__ import annotations

import sqlite3

from arco_flow.domain.errors import Conflict

SCHEMA_VERSION = 1
APPLICATION_ID = 0x6172636F  # "arco", shown by file(1)

_TABLES = """
CREATE TABLE store_time (ms INTEGER NOT NULL);
INSERT INTO store_time VALUES (0);

CREATE TABLE heads (
    entity TEXT PRIMARY KEY, scope TEXT NOT NULL, version INTEGER NOT NULL, status TEXT NOT NULL,
    state BLOB NOT NULL, owed BLOB NOT NULL, owed_since_ms INTEGER NOT NULL, labels TEXT NOT NULL,
    timer_ms INTEGER NOT NULL, created_ms INTEGER NOT NULL, updated_ms INTEGER NOT NULL);
CREATE INDEX heads_newest ON heads (scope, created_ms, entity);
CREATE INDEX heads_by_status ON heads (scope, status, created_ms, entity);
CREATE INDEX heads_in_debt ON heads (owed_since_ms) WHERE owed_since_ms > 0;
CREATE INDEX heads_on_timer ON heads (timer_ms) WHERE timer_ms > 0;

CREATE TABLE inbox (
    entity TEXT, event_id TEXT, revision INTEGER NOT NULL, posted_ms INTEGER NOT NULL,
    body BLOB NOT NULL, PRIMARY KEY (entity, event_id)) WITHOUT ROWID;
CREATE INDEX inbox_by_age ON inbox (posted_ms);

CREATE TABLE segments (
    entity TEXT, version INTEGER, body BLOB NOT NULL, PRIMARY KEY (entity, version));
CREATE TABLE rows (entity TEXT, key TEXT, body BLOB NOT NULL, PRIMARY KEY (entity, key));
CREATE TABLE documents (
    collection TEXT, key TEXT, body BLOB NOT NULL, PRIMARY KEY (collection, key));
CREATE TABLE leases (
    name TEXT PRIMARY KEY, holder TEXT NOT NULL, token INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL) WITHOUT ROWID;

-- By arrival, not by name: names are hashes, and bodies in their order would touch a page each.
CREATE TABLE tasks (
    id INTEGER PRIMARY KEY, queue TEXT NOT NULL, name TEXT NOT NULL, route TEXT NOT NULL,
    at_ms INTEGER NOT NULL, attempt INTEGER NOT NULL, body BLOB NOT NULL);
CREATE UNIQUE INDEX tasks_by_name ON tasks (queue, name);
CREATE TABLE dead_tasks (
    died_ms INTEGER NOT NULL, queue TEXT NOT NULL, name TEXT NOT NULL, route TEXT NOT NULL,
    attempt INTEGER NOT NULL, reason TEXT NOT NULL, body BLOB NOT NULL);
"""


def ensure_schema(connection: sqlite3.Connection, path: str) -> None:
    """Create the tables in an empty file; Conflict when the file is of another making."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version == 0 and not connection.execute("SELECT 1 FROM sqlite_schema").fetchone():
        # One transaction: whoever is killed in here leaves an empty file.
        connection.executescript(
            f"BEGIN IMMEDIATE; {_TABLES} PRAGMA application_id = {APPLICATION_ID};"
            f" PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
        )
        return
    application = int(connection.execute("PRAGMA application_id").fetchone()[0])
    if application != APPLICATION_ID:
        raise Conflict(
            "the database was not made by Arco Flow", where=path, fix="choose another folder"
        )
    if version != SCHEMA_VERSION:
        raise Conflict(
            f"the database has schema version {version}; this release works on {SCHEMA_VERSION}",
            where=path,
            fix="use the release that wrote it, or choose another folder",
            details={"found": version, "known": SCHEMA_VERSION},
        )

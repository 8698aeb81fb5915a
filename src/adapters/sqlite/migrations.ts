// SPDX-License-Identifier: Apache-2.0
/**
 * The schema as a list of steps; `PRAGMA user_version` counts how many a file has seen.
 *
 * Records without bytes are kept whole as JSON; what queries look at is a generated column over it, so a record cannot
 * disagree with its index, and a new field of a record needs no step here.
 * Invariant: a step that was released never changes; a new schema is a new step at the end. Times are microseconds UTC.
 */

/** SQL of each step, oldest first. */
export const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE asset_keys (
    asset TEXT PRIMARY KEY, kind TEXT NOT NULL, scheme TEXT NOT NULL, mode TEXT NOT NULL, gen INTEGER NOT NULL, salt BLOB NOT NULL,
    period_micros INTEGER NOT NULL, periods_per_group INTEGER NOT NULL, entry_kid BLOB NOT NULL, sealed_entry_key BLOB NOT NULL, created_at INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE title_keys (
    asset TEXT NOT NULL REFERENCES asset_keys(asset), gen INTEGER NOT NULL, sealed BLOB NOT NULL, PRIMARY KEY (asset, gen)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE imported_keys (
    asset TEXT NOT NULL REFERENCES asset_keys(asset), position INTEGER NOT NULL, kid BLOB NOT NULL, sealed BLOB NOT NULL, key_group TEXT NOT NULL,
    from_period INTEGER NOT NULL, to_period INTEGER NOT NULL, PRIMARY KEY (asset, position)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE catalogue (
    asset TEXT PRIMARY KEY, record TEXT NOT NULL CHECK (json_valid(record))
  ) STRICT;

  CREATE TABLE devices (
    device TEXT PRIMARY KEY, record TEXT NOT NULL CHECK (json_valid(record)),
    account TEXT NOT NULL AS (record ->> 'account'), revoked_at INTEGER AS (record ->> 'revokedAt')
  ) STRICT;
  CREATE INDEX devices_by_account ON devices(account);

  CREATE TABLE sessions (
    session TEXT PRIMARY KEY, record TEXT NOT NULL CHECK (json_valid(record)),
    account TEXT NOT NULL AS (record ->> 'account'), asset TEXT NOT NULL AS (record ->> 'asset'),
    started_at INTEGER NOT NULL AS (record ->> 'startedAt'), ended_at INTEGER AS (record ->> 'endedAt')
  ) STRICT;
  CREATE INDEX sessions_by_start ON sessions(started_at);
  CREATE INDEX sessions_live ON sessions(started_at) WHERE ended_at IS NULL;
  CREATE INDEX sessions_by_account ON sessions(account, started_at);
  CREATE INDEX sessions_by_asset ON sessions(asset, started_at);
  CREATE INDEX sessions_by_end ON sessions(ended_at) WHERE ended_at IS NOT NULL;

  CREATE TABLE single_use (id TEXT PRIMARY KEY, expires_at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  CREATE INDEX single_use_by_expiry ON single_use(expires_at);

  CREATE TABLE master_secrets (
    epoch INTEGER PRIMARY KEY, sealed BLOB NOT NULL, not_before INTEGER NOT NULL, retire_at INTEGER NOT NULL, not_after INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE secrets (name TEXT PRIMARY KEY, sealed BLOB NOT NULL) STRICT, WITHOUT ROWID;

  CREATE TABLE operators (name TEXT PRIMARY KEY, role TEXT NOT NULL, token_hash TEXT NOT NULL UNIQUE, created_at INTEGER NOT NULL) STRICT;

  CREATE TABLE audit (
    seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL, target TEXT NOT NULL, detail TEXT NOT NULL, hash TEXT NOT NULL
  ) STRICT;
  CREATE TRIGGER audit_is_append_only BEFORE UPDATE ON audit BEGIN SELECT raise(ABORT, 'audit entries cannot be changed'); END;
  CREATE TRIGGER audit_keeps_all BEFORE DELETE ON audit BEGIN SELECT raise(ABORT, 'audit entries cannot be removed'); END;
  `,
  `
  CREATE TABLE accounts (
    account TEXT PRIMARY KEY, record TEXT NOT NULL CHECK (json_valid(record)),
    level INTEGER NOT NULL AS (record ->> '$.record.level'), since INTEGER NOT NULL AS (record ->> '$.record.since')
  ) STRICT;
  CREATE INDEX accounts_by_level ON accounts(level, since);
  CREATE INDEX accounts_by_move ON accounts(since);
  `,
  `
  CREATE TABLE viewer_numbers (
    asset TEXT NOT NULL, number INTEGER NOT NULL, account TEXT NOT NULL, device TEXT NOT NULL, PRIMARY KEY (asset, number)
  ) STRICT, WITHOUT ROWID;
  CREATE UNIQUE INDEX viewer_numbers_by_holder ON viewer_numbers(asset, account, device);
  `,
  `
  CREATE TABLE outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, target TEXT NOT NULL, id TEXT NOT NULL, at INTEGER NOT NULL, body TEXT NOT NULL, UNIQUE (target, id)
  ) STRICT;
  `,
  `
  CREATE TABLE leaks (
    leak TEXT PRIMARY KEY, record TEXT NOT NULL CHECK (json_valid(record)),
    asset TEXT NOT NULL AS (record ->> 'asset'), account TEXT AS (record ->> 'account'), at INTEGER NOT NULL AS (record ->> 'at')
  ) STRICT;
  CREATE INDEX leaks_by_time ON leaks(at);
  CREATE INDEX leaks_by_account ON leaks(account, at) WHERE account IS NOT NULL;
  `,
  `
  CREATE TABLE memberships (
    collection TEXT NOT NULL, asset TEXT NOT NULL, record TEXT NOT NULL CHECK (json_valid(record)), PRIMARY KEY (collection, asset)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX memberships_by_asset ON memberships(asset, collection);

  CREATE TABLE roots (
    device TEXT NOT NULL, plan TEXT NOT NULL, record TEXT NOT NULL CHECK (json_valid(record)), renewals INTEGER NOT NULL,
    account TEXT NOT NULL AS (record ->> 'account'), jti TEXT NOT NULL AS (record ->> 'jti'), issued_at INTEGER NOT NULL AS (record ->> 'issuedAt'),
    begins INTEGER NOT NULL AS (record ->> 'begin'), ends INTEGER AS (record ->> 'end'), PRIMARY KEY (device, plan)
  ) STRICT;
  CREATE INDEX roots_by_account ON roots(account, issued_at);
  CREATE INDEX roots_by_issue ON roots(issued_at);

  CREATE TABLE usage_chains (
    device TEXT PRIMARY KEY, chain INTEGER NOT NULL, seq INTEGER NOT NULL, head BLOB NOT NULL, account TEXT NOT NULL, updated_at INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE usage_records (
    device TEXT NOT NULL, chain INTEGER NOT NULL, seq INTEGER NOT NULL, hash BLOB NOT NULL, text TEXT NOT NULL, account TEXT NOT NULL, title TEXT NOT NULL, owner TEXT NOT NULL,
    action TEXT NOT NULL, plan TEXT NOT NULL, started INTEGER NOT NULL, played INTEGER NOT NULL, offline INTEGER NOT NULL, counted INTEGER NOT NULL, uncertain INTEGER NOT NULL,
    received_at INTEGER NOT NULL, PRIMARY KEY (device, chain, seq)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX usage_by_start ON usage_records(started);
  CREATE INDEX usage_by_receipt ON usage_records(received_at);
  `,
];

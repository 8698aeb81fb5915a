// SPDX-License-Identifier: Apache-2.0
/**
 * One SQLite file: opening, migrating, reading, and writing in groups (node:sqlite, WAL, synchronous=FULL).
 *
 * A durable commit costs one fsync, about a millisecond. Writes asked for in the same turn of the event loop therefore
 * share one transaction, each in its own savepoint, and are acknowledged together after the commit.
 * Invariant: a write's promise resolves only after its transaction is on disk; a write that throws leaves nothing behind.
 */
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';
import { SealcastError } from '#core/errors.ts';
import { MIGRATIONS } from './migrations.ts';

/** A row as SQLite gives it, before it becomes a record. */
export type Row = Record<string, unknown>;

/** A prepared statement whose engine faults are SealcastErrors. */
export type Statement = {
  get(...values: SQLInputValue[]): Row | undefined;
  all(...values: SQLInputValue[]): Row[];
  /** Number of rows changed. */
  run(...values: SQLInputValue[]): number;
};

/** An open database. */
export type Database = {
  /** Prepares once; the statement lives as long as the database. */
  prepare(sql: string): Statement;
  /** Runs `work` inside the next group's transaction; resolves with its result once that is on disk. */
  write<T>(work: () => T): Promise<T>;
  /** Reads outside any transaction; engine faults become `store-unavailable`. */
  read<T>(work: () => T): Promise<T>;
  /** Commits what is queued, checkpoints the log and closes. Later calls fail. Harmless when repeated. */
  close(): void;
};

/** The record of a row that keeps it as JSON in the column `record`. */
export function recordOf<T>(row: Row): T;
export function recordOf<T>(row: Row | undefined): T | undefined;
export function recordOf<T>(row: Row | undefined): T | undefined {
  return row === undefined ? undefined : (JSON.parse(row['record'] as string) as T);
}

/** `SEAL` in ASCII: tells our files from other applications' databases. */
const APPLICATION_ID = 0x5345414c;

const isEngineFault = (error: unknown): error is Error & { errcode?: number } =>
  error instanceof Error && 'code' in error && (error.code === 'ERR_SQLITE_ERROR' || error.code === 'ERR_INVALID_STATE');

/** Engine faults carry table names and messages of SQLite, never values: safe to show to an operator. */
const storeFault = (error: unknown): unknown => (isEngineFault(error) ? new SealcastError('store-unavailable', `database: ${error.message}`, { cause: error }) : error);

const guarded = <T>(work: () => T): T => {
  try {
    return work();
  } catch (error) {
    throw storeFault(error);
  }
};

const scalar = (db: DatabaseSync, pragma: string): number => Number(Object.values(db.prepare(`PRAGMA ${pragma}`).get() ?? {})[0]);

const migrate = (db: DatabaseSync, path: string): void => {
  db.exec('BEGIN IMMEDIATE');
  try {
    const version = scalar(db, 'user_version');
    const tables = Number(db.prepare('SELECT count(*) AS n FROM sqlite_schema').get()?.['n']);
    if (tables > 0 && scalar(db, 'application_id') !== APPLICATION_ID) {
      throw new SealcastError('config-invalid', `${path} is a database of another application; choose another data folder`);
    }
    if (version > MIGRATIONS.length) {
      throw new SealcastError('config-invalid', `${path} has schema version ${version}, this release knows up to ${MIGRATIONS.length}; use the newer release`);
    }
    for (const sql of MIGRATIONS.slice(version)) db.exec(sql);
    if (version < MIGRATIONS.length) db.exec(`PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${MIGRATIONS.length}`);
    db.exec('COMMIT');
  } catch (error) {
    db.exec('ROLLBACK');
    throw error;
  }
};

/**
 * Opens or creates the file (mode 0600, its folder 0700) and brings its schema up to date.
 * Throws `store-unavailable` when it cannot be opened, `config-invalid` when it is not ours or too new.
 */
export const openDatabase = (options: { readonly path: string; readonly lockWaitMillis?: number; readonly pageLimit?: number }): Database => {
  const { path, lockWaitMillis = 2000, pageLimit } = options;
  const db = guarded(() => {
    try {
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
      closeSync(openSync(path, 'a', 0o600));
    } catch (error) {
      throw new SealcastError('store-unavailable', `database file cannot be opened: ${error instanceof Error ? error.message : 'unknown'}`, { cause: error });
    }
    const opened = new DatabaseSync(path, { timeout: lockWaitMillis, enableForeignKeyConstraints: true });
    try {
      opened.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA fullfsync = ON; PRAGMA trusted_schema = OFF');
      migrate(opened, path);
      if (pageLimit !== undefined) opened.exec(`PRAGMA max_page_count = ${Math.trunc(pageLimit)}`);
      return opened;
    } catch (error) {
      opened.close();
      throw error;
    }
  });

  type Queued = { readonly run: () => void; readonly done: () => void; readonly failed: (error: unknown) => void };
  let queue: Queued[] = [];

  const flush = (): void => {
    const group = queue;
    queue = [];
    if (group.length === 0) return;
    const kept: Queued[] = [];
    try {
      db.exec('BEGIN IMMEDIATE');
      for (const write of group) {
        db.exec('SAVEPOINT one');
        try {
          write.run();
          db.exec('RELEASE one');
          kept.push(write);
        } catch (error) {
          // A full disk makes the engine roll the whole transaction back: then the whole group fails, for this reason.
          if (!db.isTransaction) throw error;
          db.exec('ROLLBACK TO one; RELEASE one');
          write.failed(storeFault(error));
        }
      }
      db.exec('COMMIT');
    } catch (error) {
      if (db.isOpen && db.isTransaction) db.exec('ROLLBACK');
      for (const write of group) write.failed(storeFault(error));
      return;
    }
    for (const write of kept) write.done();
  };

  return {
    prepare(sql) {
      const statement: StatementSync = guarded(() => db.prepare(sql));
      return {
        get: (...values) => statement.get(...values),
        all: (...values) => statement.all(...values),
        run: (...values) => Number(statement.run(...values).changes),
      };
    },
    write: <T>(work: () => T) =>
      new Promise<T>((resolve, reject) => {
        let result: T;
        if (queue.length === 0) setImmediate(flush);
        queue.push({
          run: () => {
            result = work();
          },
          done: () => resolve(result),
          failed: reject,
        });
      }),
    read: async (work) => guarded(work),
    close() {
      if (!db.isOpen) return;
      flush();
      db.close();
    },
  };
};

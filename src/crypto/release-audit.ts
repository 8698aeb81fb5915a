// SPDX-License-Identifier: Apache-2.0
/**
 * Proves offline, from files alone, that nothing of a timed event left early, and who released what when.
 *
 * docs/wire/audit.md, "What a log proves". Release logs (with the signed schedules in them), receipts of probes, and released secrets are held against each
 * other; every signature is checked with the keys that were given, never with keys out of the files.
 * Invariant: fails closed. What cannot be checked is a fault or is counted as unproven; it is never taken for good.
 */
import { equalBytes } from '#core/bytes/equal.ts';
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { type LadderHash, releaseCommitment } from '#core/keys/ladder.ts';
import type { AuditLine, ReleaseEntry } from '#core/release/audit.ts';
import { type SecretRun, secretOf } from '#core/release/block.ts';
import { releaseInstant } from '#core/release/gate.ts';
import { judgeReceipt, type Receipt } from '#core/release/receipts.ts';
import { type BlockSchedule, blockOf, commitmentOf, parseBlockSchedule, periodsPerBlock, sameSchedule, SCHEDULE_TYPE } from '#core/release/schedule.ts';
import { type LineFault, readReceipts, readReleaseLog } from '#core/release/signed-lines.ts';
import type { CryptoPeriod, Micros } from '#core/time.ts';
import { type JwsKey, type JwsType, verifyJws } from './jose.ts';

/** A file that was given, by its name in reports. */
export type NamedText = { readonly name: string; readonly text: string };
/** What is wrong, and where. */
export type AuditFault = LineFault & { readonly file: string };
/** What one edge released of one event. */
export type EdgeReleases = {
  readonly edge: string;
  readonly event: string;
  readonly from: CryptoPeriod;
  readonly to: CryptoPeriod;
  readonly periods: number;
  readonly writes: number;
  readonly skipped: number;
  /** From the instant to the first write, and from the first write to the last; microseconds. */
  readonly lateness: { readonly p50: number; readonly p99: number; readonly most: number };
  readonly spread: { readonly p50: number; readonly p99: number; readonly most: number };
  /** Runs of periods that this edge did not release, between its first and last, and what its log says of them. */
  readonly gaps: readonly { readonly from: CryptoPeriod; readonly to: CryptoPeriod; readonly because: string }[];
  /** Statuses of the clock behind the releases: `single-host` is weaker than `sync`. */
  readonly clocks: readonly string[];
  /** Periods of which no signed schedule was in the log before their instant. */
  readonly uncommitted: number;
};
/** The outcome. `ok` is false for any fault, and if nothing was proven at all. */
export type ReleaseAudit = {
  readonly ok: boolean;
  readonly faults: readonly AuditFault[];
  readonly edges: readonly EdgeReleases[];
  /** Releases in signed lines, each with `earliest >= T_p` of the signed schedule. */
  readonly releases: number;
  readonly early: number;
  /** Releases whose secret was given and matches its commitment and the logged hash. */
  readonly secretsProven: number;
  readonly receipts: { readonly onTime: number; readonly early: number; readonly undecided: number; readonly probes: readonly string[] };
  /** Heads that key servers kept and that the logs lead to, and those of times without a log here. */
  readonly heads: { readonly agreed: number; readonly elsewhere: number };
  /** Lines after the last signature: after a crash at most a second's. They prove nothing. */
  readonly unsigned: number;
  /** Every entry of a period, for `--period`. */
  entriesOf(period: CryptoPeriod): readonly (ReleaseEntry & { readonly edge: string })[];
};

type Entry = ReleaseEntry & { readonly edge: string; readonly file: string; readonly line: number };

const quantiles = (values: readonly number[]): { p50: number; p99: number; most: number } => {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
  return { p50: at(0.5), p99: at(0.99), most: sorted.at(-1) ?? 0 };
};

/** A line of `release-log-heads.jsonl`; undefined for anything else. */
const headOf = (text: string): { readonly edge: string; readonly at: number; readonly jws: string } | undefined => {
  try {
    const { edge, at, jws, ...rest } = JSON.parse(text) as Record<string, unknown>;
    return typeof edge === 'string' && typeof at === 'number' && typeof jws === 'string' && Object.keys(rest).length === 0 ? { edge, at, jws } : undefined;
  } catch {
    return undefined;
  }
};

/** Enough at a time for all cores; more only takes memory. */
const AT_ONCE = 256;
const inBatches = async <Item>(items: readonly Item[], run: (item: Item) => Promise<void>): Promise<void> => {
  for (let from = 0; from < items.length; from += AT_ONCE) await Promise.all(items.slice(from, from + AT_ONCE).map(run));
};

/** `keyOf`: public keys by `kid`, of edges' logs, probes and key servers. `hashLine` as in `readReleaseLog`. */
export const auditReleases = async (options: {
  readonly logs: readonly NamedText[];
  readonly receipts: readonly NamedText[];
  /** What key servers kept of the edges' signatures: `release-log-heads.jsonl`. */
  readonly heads?: readonly NamedText[];
  /** Released secrets, from `release/blocks/{n}`. */
  readonly secrets: readonly (SecretRun & { readonly name: string })[];
  readonly keyOf: (kid: string) => JwsKey | undefined;
  readonly hash: LadderHash;
  readonly hashLine: (line: string) => string;
}): Promise<ReleaseAudit> => {
  const { hash, hashLine, keyOf } = options;
  const faults: AuditFault[] = [];
  const entries: Entry[] = [];
  const schedules = new Map<string, BlockSchedule & { readonly seen: Map<string, Micros> }>();
  const pinned = new Map<string, BlockSchedule>();
  const notes: { edge: string; event: string; at: Micros; what: string }[] = [];
  const starts: { readonly edge: string; readonly at: Micros; readonly signatures: ReadonlySet<string> }[] = [];
  let unsigned = 0;

  /** Checks the signatures of a file from its end; answers how many lines are covered by a good one. */
  const signed = async (file: string, kid: string, typ: JwsType, who: 'edge' | 'probe', name: string, lines: readonly { readonly at: number; readonly line: { readonly kind: string } }[]): Promise<number> => {
    const key = keyOf(kid);
    if (key === undefined) {
      faults.push({ file, line: 1, what: `no public key was given for ${kid}` });
      return 0;
    }
    // A signature covers everything before it, earlier signatures too: the last good one decides, and a bad one is a fault.
    for (const { at, line } of lines.filter(({ line }) => line.kind === 'signature').toReversed()) {
      const { lines: count, head, jws } = line as unknown as { lines: number; head: string; jws: string };
      const payload = await verifyJws(jws, { typ, key: (given) => (given === kid ? key : undefined) });
      if (payload !== undefined && payload[who] === name && payload['lines'] === count && payload['head'] === head) return at;
      faults.push({ file, line: at, what: 'the signature is not good' });
    }
    return 0;
  };

  const takeSchedule = async (file: string, line: number, entry: Extract<AuditLine, { kind: 'schedule' }>): Promise<void> => {
    const payload = await verifyJws(entry.jws, { typ: SCHEDULE_TYPE, key: (kid) => (kid === undefined ? undefined : keyOf(kid)), maxLength: 65_536 });
    const fault = (what: string): void => void faults.push({ file, line, what });
    if (payload === undefined) return fault('the schedule is not signed by a key server whose key was given');
    let schedule: BlockSchedule;
    try {
      schedule = parseBlockSchedule(payload);
    } catch (error) {
      return fault((error as Error).message);
    }
    if (schedule.event !== entry.event || schedule.block !== entry.block) return fault('the line names another block than its schedule');
    const series = `${schedule.event}/${schedule.version}`;
    const first = pinned.get(series);
    if (first === undefined) pinned.set(series, schedule);
    else if (!sameSchedule(first, schedule)) return fault('t0, period or δ differ from an earlier signed schedule of this event');
    const id = `${series}/${schedule.block}`;
    const known = schedules.get(id);
    if (known !== undefined && !equalBytes(known.commitments, schedule.commitments)) return fault('two signed schedules of one block commit to different secrets');
    const held = known ?? { ...schedule, seen: new Map<string, Micros>() };
    schedules.set(id, held);
    held.seen.set(file, Math.min(held.seen.get(file) ?? Number.POSITIVE_INFINITY, entry.at) as Micros);
  };

  for (const { name: file, text } of options.logs) {
    const log = readReleaseLog(text, hashLine);
    for (const fault of log.faults) faults.push({ file, ...fault });
    const start = log.lines[0]?.line;
    if (start?.kind !== 'start') continue;
    const { edge } = start;
    const covered = await signed(file, start.kid, 'release-log+jwt', 'edge', edge, log.lines);
    unsigned += log.lines.length - Math.min(covered, log.lines.length);
    starts.push({ edge, at: start.at, signatures: new Set(log.lines.flatMap(({ line }) => (line.kind === 'signature' ? [`${line.lines}/${line.head}`] : []))) });
    const proven = log.lines.filter(({ at }) => at <= covered);
    await inBatches(proven.filter(({ line }) => line.kind === 'schedule'), ({ at, line }) => takeSchedule(file, at, line as Extract<AuditLine, { kind: 'schedule' }>));
    for (const { at, line } of proven) {
      if (line.kind === 'release') entries.push({ ...line, edge, file, line: at });
      else if (line.kind === 'note') notes.push({ edge, event: line.event, at: line.at, what: line.what });
    }
  }

  const scheduleOf = (event: string, version: number, period: CryptoPeriod): (BlockSchedule & { readonly seen: Map<string, Micros> }) | undefined => {
    const first = pinned.get(`${event}/${version}`);
    return first && schedules.get(`${event}/${version}/${blockOf(period, periodsPerBlock(first.period))}`);
  };

  // ---- every release against its schedule ----
  let early = 0;
  const uncommitted = new Map<string, number>();
  const lastOf = new Map<string, CryptoPeriod>();
  const byPeriod = new Map<CryptoPeriod, Entry[]>();
  const hashes = new Map<string, string>();
  for (const entry of entries) {
    const { file, line, event, period } = entry;
    const fault = (what: string): void => void faults.push({ file, line, what });
    const first = pinned.get(`${event}/${entry.version}`);
    if (first === undefined) {
      fault(`no signed schedule of ${event} is in the logs`);
      continue;
    }
    const releaseAt = releaseInstant(first, period);
    if (entry.releaseAt !== releaseAt) fault(`period ${period} was released by another instant than the signed schedule's`);
    if (entry.earliest < releaseAt || entry.first < releaseAt) {
      early++;
      fault(`period ${period} was released before its instant`);
    }
    if (entry.latest < entry.earliest || entry.last < entry.first) fault(`the times of period ${period} contradict each other`);
    const lane = `${file}/${event}/${entry.worker}`;
    if ((lastOf.get(lane) ?? -1) >= period) fault(`period ${period} comes after a later one`);
    lastOf.set(lane, period);
    const schedule = scheduleOf(event, entry.version, period);
    if (schedule === undefined || (schedule.seen.get(file) ?? Number.POSITIVE_INFINITY) > releaseAt) uncommitted.set(`${entry.edge}/${event}`, (uncommitted.get(`${entry.edge}/${event}`) ?? 0) + 1);
    const id = `${event}/${entry.version}/${period}`;
    const other = hashes.get(id);
    if (other !== undefined && other !== entry.secretHash) fault(`period ${period} was released with another secret elsewhere`);
    hashes.set(id, entry.secretHash);
    const same = byPeriod.get(period);
    if (same === undefined) byPeriod.set(period, [entry]);
    else same.push(entry);
  }

  // ---- released secrets against commitments and the logged hashes ----
  let secretsProven = 0;
  for (const run of options.secrets) {
    const count = run.secrets.length / 16;
    const owner = [...pinned.values()].find((schedule) => {
      if (releaseInstant(schedule, run.from) !== run.releaseAt || schedule.period !== run.period || schedule.version !== run.version) return false;
      for (let at = 0; at < count; at++) {
        const period = (run.from + at) as CryptoPeriod;
        const secret = secretOf(run, period);
        const block = secret && scheduleOf(schedule.event, schedule.version, period);
        if (secret !== undefined && block !== undefined) return equalBytes(commitmentOf(block, period) as Uint8Array, releaseCommitment(hash, { eventId: schedule.event, version: schedule.version, period, releaseAt: releaseInstant(schedule, period) }, secret));
      }
      return false;
    });
    if (owner === undefined) {
      faults.push({ file: run.name, line: 0, what: 'these secrets match no signed schedule in the logs' });
      continue;
    }
    for (let at = 0; at < count; at++) {
      const period = (run.from + at) as CryptoPeriod;
      const secret = secretOf(run, period);
      const block = scheduleOf(owner.event, owner.version, period);
      if (secret === undefined || block === undefined) continue;
      const commitment = commitmentOf(block, period) as Uint8Array;
      const good = equalBytes(commitment, releaseCommitment(hash, { eventId: owner.event, version: owner.version, period, releaseAt: releaseInstant(owner, period) }, secret));
      if (!good) faults.push({ file: run.name, line: 0, what: `the secret of period ${period} is not the one that was committed to` });
      const logged = hashes.get(`${owner.event}/${owner.version}/${period}`);
      if (good && logged !== undefined) {
        if (logged === encodeBase64url(hash.sha256(secret))) secretsProven++;
        else faults.push({ file: run.name, line: 0, what: `the logs name another secret for period ${period}` });
      }
    }
  }

  // ---- receipts against the logs ----
  const found = { onTime: 0, early: 0, undecided: 0, probes: new Set<string>() };
  const edgesWithLog = new Map<string, { from: CryptoPeriod; to: CryptoPeriod }>();
  for (const { edge, event, period } of entries) {
    const id = `${edge}/${event}`;
    const range = edgesWithLog.get(id) ?? { from: period, to: period };
    edgesWithLog.set(id, { from: Math.min(range.from, period) as CryptoPeriod, to: Math.max(range.to, period) as CryptoPeriod });
  }
  for (const { name: file, text } of options.receipts) {
    const read = readReceipts(text, hashLine);
    for (const fault of read.faults) faults.push({ file, ...fault });
    const start = read.lines[0]?.line;
    if (start?.kind !== 'start') continue;
    const covered = await signed(file, start.kid, 'release-receipts+jwt', 'probe', start.probe, read.lines);
    unsigned += read.lines.length - Math.min(covered, read.lines.length);
    found.probes.add(start.probe);
    for (const { at, line } of read.lines) {
      if (at > covered || line.kind !== 'receipt') continue;
      const receipt: Receipt = line;
      const fault = (what: string): void => void faults.push({ file, line: at, what });
      const schedule = pinned.get(`${receipt.event}/${receipt.version}`);
      if (schedule === undefined) {
        fault(`no signed schedule of ${receipt.event} is in the logs`);
        continue;
      }
      const verdict = judgeReceipt(receipt, releaseInstant(schedule, receipt.period));
      if (verdict === 'early') {
        found.early++;
        fault(`period ${receipt.period} was received from ${receipt.edge} before its instant`);
      } else if (verdict === 'on-time') found.onTime++;
      else found.undecided++;
      if (!receipt.committed) fault(`the secret of period ${receipt.period} did not match its commitment at the probe`);
      const logged = hashes.get(`${receipt.event}/${receipt.version}/${receipt.period}`);
      if (logged !== undefined && logged !== receipt.secretHash) fault(`the logs name another secret for period ${receipt.period}`);
      const mine = (byPeriod.get(receipt.period) ?? []).filter((entry) => entry.edge === receipt.edge && entry.event === receipt.event);
      const range = edgesWithLog.get(`${receipt.edge}/${receipt.event}`);
      if (mine.length === 0 && range !== undefined && receipt.period >= range.from && receipt.period <= range.to) fault(`${receipt.edge} released period ${receipt.period}, and its log does not say so`);
      // Nobody has it before the first write; both clocks' doubts are given the benefit.
      if (mine.length > 0 && receipt.latest < Math.min(...mine.map((entry) => entry.first - (entry.latest - entry.earliest)))) fault(`period ${receipt.period} was received before ${receipt.edge} says that it wrote it`);
    }
  }

  // ---- heads that others kept ----
  const heads = { agreed: 0, elsewhere: 0 };
  for (const { name: file, text } of options.heads ?? []) {
    for (const [index, own] of text.split('\n').entries()) {
      if (own === '' && index > 0) continue;
      const fault = (what: string): void => void faults.push({ file, line: index + 1, what });
      const head = headOf(own);
      const payload = head && (await verifyJws(head.jws, { typ: 'release-log+jwt', key: (kid) => (kid === undefined ? undefined : keyOf(kid)) }));
      if (head === undefined || payload === undefined || payload['edge'] !== head.edge) {
        fault('not a head of a release log signed by an edge whose key was given');
        continue;
      }
      // The log that was being written then: what was signed must still be in it.
      const log = starts.filter(({ edge, at }) => edge === head.edge && at <= head.at).toSorted((a, b) => b.at - a.at)[0];
      if (log === undefined) heads.elsewhere++;
      else if (log.signatures.has(`${String(payload['lines'])}/${String(payload['head'])}`)) heads.agreed++;
      else fault(`${head.edge} signed another log than this one at the time, or its end was cut off`);
    }
  }

  // ---- who released what when ----
  const groups = new Map<string, Entry[]>();
  for (const entry of entries) {
    const id = `${entry.edge}/${entry.event}`;
    const group = groups.get(id);
    if (group === undefined) groups.set(id, [entry]);
    else group.push(entry);
  }
  const edges = [...groups].map(([id, group]): EdgeReleases => {
    const [{ edge, event }] = group as [Entry];
    const periods = [...new Set(group.map(({ period }) => period))].sort((a, b) => a - b);
    const gaps: { from: CryptoPeriod; to: CryptoPeriod; because: string }[] = [];
    for (let at = 1; at < periods.length; at++) {
      const [before, after] = [periods[at - 1] as CryptoPeriod, periods[at] as CryptoPeriod];
      if (after === before + 1) continue;
      const first = pinned.get(`${event}/${group[0]?.version ?? 0}`);
      const [low, high] = first === undefined ? [0, 0] : [releaseInstant(first, before), releaseInstant(first, after)];
      const said = notes.filter((note) => note.edge === edge && (note.event === event || note.event === '') && note.at >= low && note.at <= high + 2_000_000).map(({ what }) => what);
      gaps.push({ from: (before + 1) as CryptoPeriod, to: (after - 1) as CryptoPeriod, because: said[0] ?? 'not said: the edge did not run, or did not get to it' });
    }
    return {
      edge, event, from: periods[0] as CryptoPeriod, to: periods.at(-1) as CryptoPeriod, periods: periods.length, writes: group.reduce((sum, { sent }) => sum + sent, 0), skipped: group.reduce((sum, { skipped }) => sum + skipped, 0),
      lateness: quantiles(group.map((entry) => entry.first - entry.releaseAt)), spread: quantiles(group.map((entry) => entry.last - entry.first)), gaps, clocks: [...new Set(group.map(({ status }) => status))], uncommitted: uncommitted.get(id) ?? 0,
    };
  });
  faults.sort((a, b) => (a.file === b.file ? a.line - b.line : a.file < b.file ? -1 : 1));
  return {
    ok: faults.length === 0 && entries.length > 0, faults, edges, releases: entries.length, early, secretsProven,
    receipts: { onTime: found.onTime, early: found.early, undecided: found.undecided, probes: [...found.probes] },
    heads, unsigned,
    entriesOf: (period) => byPeriod.get(period) ?? [],
  };
};

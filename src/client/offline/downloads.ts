// SPDX-License-Identifier: Apache-2.0
/**
 * Downloads titles one after the other, in the order in which they are watched, and gives their files to players.
 *
 * docs/wire/subscription.md, "Downloads" (B130-B135). A download goes on where it stopped: after a pause, a restart, a lost
 * connection, a full disk that has room again. Invariant: what is stored is what the service sent, encrypted as it came.
 */
import { type ErrorCode, ERRORS, SealcastError } from '#core/errors.ts';
import { type AssetId, isAssetId, type RepresentationId } from '#core/ids.ts';
import { jsonObject, membersOf } from '#core/license/shape.ts';
import type { Micros } from '#core/time.ts';
import type { Clock, Fetch, OfflineStorage, Random } from '#ports';
import { sleep } from '../clock.ts';
import { createEmitter } from '../emitter.ts';
import { parseMpd } from '../mpd.ts';
import { type Texts, textOf } from '../texts/texts.ts';
import { backoff } from '../transport.ts';
import { openDownloadFiles } from './download-files.ts';
import { type DownloadPlan, ENTRY_KEY, HLS, lowestTracks, mediaTypeOf, MPD, offlinePlace, readPlan } from './download-plan.ts';
import type { Download, DownloadChoice, Downloads, DownloadState } from './download-types.ts';
import { mpdWithOnly, playlistWithOnly } from './manifest-choice.ts';
import { type AwaitedSegment, cautiousForecast, prebufferWait } from './prebuffer.ts';
import type { Refused } from './subscriptions.ts';

/** What downloads need. */
export type DownloadsOptions = {
  readonly storage: OfflineStorage;
  readonly fetch: Fetch;
  /** Where media is served. */
  readonly baseUrl: string;
  /** Whether the device may keep a title; fetches its leaf if need be. */
  readonly permit: (title: AssetId) => Promise<{ readonly ok: true } | Refused>;
  /** A media token for a title. */
  readonly access: (title: AssetId) => Promise<{ readonly ok: true; readonly token: string; readonly expires: Micros } | Refused>;
  readonly now: () => Micros;
  readonly clock: Clock;
  readonly random: Random;
  readonly texts: Texts;
  /** Answer of the Clear Key exchange for a title: its decoy, which sets players' decryption up and opens no sample. */
  readonly entryKey: (title: AssetId) => Promise<Uint8Array | undefined>;
  /** Bytes that all downloads together may take. */
  readonly quota: number;
  /** A title is whole, or was removed; durable before it shows. */
  readonly told: (title: AssetId, what: 'download' | 'delete') => Promise<void>;
};

type Entry = { readonly title: AssetId; state: DownloadState; wanted: string[] | undefined; priority: 'now' | 'soon'; added: number; plan: DownloadPlan | undefined; trouble: ErrorCode | undefined; choose: DownloadChoice['choose'] };

const PREFIX = 'download/';
/** A token is asked for anew this long before it ends. */
const TOKEN_MARGIN = 30_000_000;
const RETRIES = 4;
const LONGEST_PAUSE = 60_000;
/** Measurements that a forecast is made of. */
const MEASURED = 120;
const STEP = 1_000_000 as Micros;

/** A kept download from its text; undefined for one that was damaged. */
const readEntry = (text: string): Pick<Entry, 'state' | 'wanted' | 'priority' | 'added' | 'trouble'> | undefined => {
  try {
    const record = membersOf(jsonObject(text, 'download record', 'bad-request'), 'download record', 'bad-request', ['state', 'wanted', 'priority', 'added', 'trouble'], [], true);
    const [wanted, trouble] = [record.value('wanted'), record.value('trouble')];
    return {
      state: record.oneOf('state', ['queued', 'paused', 'complete']),
      wanted: Array.isArray(wanted) ? wanted.map(String) : undefined,
      priority: record.oneOf('priority', ['now', 'soon']),
      added: record.integer('added', 0, Number.MAX_SAFE_INTEGER),
      trouble: typeof trouble === 'string' && Object.hasOwn(ERRORS, trouble) ? (trouble as ErrorCode) : undefined,
    };
  } catch {
    return undefined;
  }
};

/** Opens the downloads kept in `storage` and goes on with them. */
export const openDownloads = async (options: DownloadsOptions): Promise<Downloads> => {
  const { storage, clock, random, texts } = options;
  const { records } = storage;
  const files = await openDownloadFiles(storage);
  const entries = new Map<AssetId, Entry>();
  const events = createEmitter<{ changed: Download }>();
  const tokens = new Map<AssetId, { readonly token: string; readonly expires: Micros }>();
  const arrived = new Set<() => void>();
  const rates: number[] = [];
  const stopping = new AbortController();
  let running: { readonly title: AssetId; readonly abort: AbortController; readonly done: Promise<void> } | undefined;
  let pumping: Promise<void> | undefined;
  let waking = new AbortController();
  let closed = false;

  const view = (entry: Entry): Download => ({
    title: entry.title,
    state: entry.state,
    done: entry.plan?.files.filter(({ path }) => files.length(entry.title, path) !== undefined).length ?? 0,
    total: entry.plan?.files.length ?? 0,
    bytes: files.bytes(entry.title),
    duration: entry.plan?.mpd.duration ?? (0 as Micros),
    tracks: entry.wanted ?? [],
    trouble: entry.trouble === undefined ? undefined : { code: entry.trouble, text: textOf(entry.trouble, texts) },
  });
  const tell = (entry: Entry): void => {
    for (const wake of [...arrived]) wake();
    events.emit('changed', view(entry));
  };
  const save = async (entry: Entry): Promise<void> => {
    const { title, state, wanted, priority, added, trouble } = entry;
    await records.write([[`${PREFIX}${title}`, JSON.stringify({ state: state === 'running' ? 'queued' : state, wanted: wanted ?? null, priority, added, trouble: trouble ?? null })]]);
  };
  const change = async (entry: Entry, state: DownloadState, trouble?: ErrorCode): Promise<void> => {
    entry.state = state;
    entry.trouble = trouble;
    await save(entry);
    tell(entry);
  };

  for (const [key, text] of await records.list(PREFIX)) {
    const title = key.slice(PREFIX.length);
    const record = isAssetId(title) ? readEntry(text) : undefined;
    // A record that was damaged is a download that nobody knows of: its files go with it.
    if (record !== undefined && isAssetId(title)) entries.set(title, { ...record, title, plan: await readPlan(files, title).catch(() => undefined), choose: undefined });
    else {
      await records.write([[key, undefined]]);
      if (isAssetId(title)) await files.forget(title);
    }
  }

  // ---- fetching -------------------------------------------------------------------------------------------------

  const tokenOf = async (title: AssetId, fresh: boolean): Promise<string> => {
    const known = tokens.get(title);
    if (!fresh && known !== undefined && known.expires - TOKEN_MARGIN > options.now()) return known.token;
    const access = await options.access(title);
    if (!access.ok) throw new SealcastError(access.denial.code, access.denial.detail);
    tokens.set(title, access);
    return access.token;
  };

  const get = async (title: AssetId, path: string, signal: AbortSignal): Promise<Uint8Array | undefined> => {
    const url = new URL(`/media/${title}/${path}`, options.baseUrl).href;
    for (let tries = 1; ; tries++) {
      let problem: ErrorCode = 'service-unreachable';
      try {
        const sent = clock.monotonic();
        const response = await options.fetch(new Request(url, { headers: { authorization: `Bearer ${await tokenOf(title, tries === 2)}` }, signal }));
        if (response.ok) {
          const bytes = new Uint8Array(await response.arrayBuffer());
          const seconds = (clock.monotonic() - sent) / 1000;
          if (seconds > 0 && bytes.length > 10_000) rates.push((bytes.length * 8) / seconds);
          if (rates.length > MEASURED) rates.shift();
          return bytes;
        }
        await response.body?.cancel();
        if (response.status === 404) return undefined;
        problem = response.status === 401 || response.status === 403 ? 'token-expired' : 'origin-unavailable';
      } catch (error) {
        if (error instanceof SealcastError) throw error;
      }
      if (signal.aborted || tries >= RETRIES) throw new SealcastError(problem, 'a file of a download could not be fetched');
      await sleep(clock, backoff(tries, random), signal);
    }
  };

  const store = async (entry: Entry, path: string, bytes: Uint8Array): Promise<void> => {
    if (files.total + bytes.length > options.quota) throw new SealcastError('storage-full', `the quota of ${options.quota} bytes is used up`);
    await files.write(entry.title, path, bytes);
    tell(entry);
  };

  /** Manifests first: they say what there is to fetch. */
  const begin = async (entry: Entry, signal: AbortSignal): Promise<DownloadPlan> => {
    const { title } = entry;
    const [mpdBytes, hlsBytes] = [await get(title, MPD, signal), await get(title, HLS, signal)];
    if (mpdBytes === undefined) throw new SealcastError('not-found', 'the title has no manifest');
    const text = new TextDecoder().decode(mpdBytes);
    const whole = parseMpd(text);
    if (whole.kind !== 'title') throw new SealcastError('media-unsupported', 'events cannot be downloaded before they are titles');
    const chosen = entry.wanted === undefined ? (entry.choose ?? lowestTracks)(whole.tracks.filter(({ init }) => init !== undefined)) : whole.tracks.filter(({ id }) => entry.wanted?.includes(id));
    if (chosen.length === 0) throw new SealcastError('not-found', 'no rendition was chosen');
    entry.wanted = chosen.map(({ id }) => id);
    const ids: ReadonlySet<RepresentationId> = new Set(chosen.map(({ id }) => id));
    await save(entry);
    if (hlsBytes !== undefined) await store(entry, HLS, new TextEncoder().encode(playlistWithOnly(new TextDecoder().decode(hlsBytes), ids)));
    const entryKey = await options.entryKey(title);
    if (entryKey !== undefined) await store(entry, ENTRY_KEY, entryKey);
    await store(entry, MPD, new TextEncoder().encode(mpdWithOnly(text, ids)));
    const plan = await readPlan(files, title);
    if (plan === undefined) throw new SealcastError('download-incomplete', 'the manifest was not kept');
    return plan;
  };

  const download = async (entry: Entry, signal: AbortSignal): Promise<void> => {
    const permitted = await options.permit(entry.title);
    if (!permitted.ok) throw new SealcastError(permitted.denial.code, permitted.denial.detail);
    // Without its manifest a download was evicted or damaged: what else is still there has to be looked at.
    if ((await readPlan(files, entry.title)) === undefined) await files.verify(entry.title);
    entry.plan = (await readPlan(files, entry.title)) ?? (await begin(entry, signal));
    for (const { path } of entry.plan.files) {
      if (signal.aborted) return;
      if (files.length(entry.title, path) !== undefined) continue;
      const bytes = await get(entry.title, path, signal);
      if (bytes === undefined) throw new SealcastError('not-found', 'a segment of the title is gone');
      await store(entry, path, bytes);
    }
    await options.told(entry.title, 'download');
    await change(entry, 'complete');
  };

  const next = (): Entry | undefined => [...entries.values()].filter(({ state }) => state === 'queued').sort((a, b) => (a.priority === b.priority ? a.added - b.added : a.priority === 'now' ? -1 : 1))[0];

  /** Codes after which only the viewer or the service can help: no use in trying again by itself. */
  const STUCK: ReadonlySet<ErrorCode> = new Set(['storage-full', 'forbidden', 'not-found', 'license-expired', 'license-missing', 'device-revoked', 'device-unknown', 'media-unsupported', 'media-malformed']);

  const pump = async (): Promise<void> => {
    for (let failures = 0; !closed; ) {
      const entry = next();
      if (entry === undefined) return;
      const abort = new AbortController();
      entry.state = 'running';
      entry.trouble = undefined;
      let trouble: ErrorCode | undefined;
      const done = download(entry, abort.signal).then(
        () => void (failures = 0),
        (error: unknown) => void (trouble = abort.signal.aborted ? undefined : error instanceof SealcastError ? error.code : 'internal'),
      );
      running = { title: entry.title, abort, done };
      tell(entry);
      await done;
      running = undefined;
      if (closed || !entries.has(entry.title)) continue;
      if ((entry as Entry).state === 'running') await change(entry, trouble !== undefined && STUCK.has(trouble) ? 'paused' : 'queued', trouble).catch(() => undefined);
      if (trouble !== undefined && !STUCK.has(trouble)) {
        failures += 1;
        waking = new AbortController();
        await sleep(clock, backoff(failures, random, undefined, LONGEST_PAUSE), waking.signal);
      }
    }
  };

  const start = (): void => {
    if (closed) return;
    pumping ??= pump().finally(() => {
      pumping = undefined;
      if (next() !== undefined) start();
    });
  };

  /** Resolves when something arrived or changed. */
  const nextArrival = (signal: AbortSignal): Promise<void> =>
    new Promise((resolve) => {
      const done = (): void => {
        arrived.delete(done);
        signal.removeEventListener('abort', done);
        resolve();
      };
      arrived.add(done);
      signal.addEventListener('abort', done);
      if (signal.aborted) done();
    });

  const answer = async (entry: Entry, path: string, signal: AbortSignal): Promise<Response> => {
    const type = mediaTypeOf(path);
    while (!signal.aborted && !closed) {
      const bytes = await files.read(entry.title, path);
      if (bytes !== undefined) return new Response(bytes as BodyInit, { headers: { 'content-type': type, 'content-length': String(bytes.length) } });
      const expected = entry.plan === undefined || entry.plan.files.some((file) => file.path === path) || path === MPD;
      // What a player asks for besides is not downloaded: the manifests name nothing else.
      if (!expected) return new Response(null, { status: 404 });
      if (entry.state === 'complete') {
        await change(entry, 'queued', 'download-incomplete');
        start();
      }
      if (entry.state === 'paused') return new Response(null, { status: 504 });
      await nextArrival(signal);
    }
    return new Response(null, { status: 504 });
  };

  const stop = async (entry: Entry): Promise<void> => {
    if (running?.title !== entry.title) return;
    running.abort.abort();
    await running.done;
  };

  const downloads: Downloads = {
    get all() {
      return [...entries.values()].map(view);
    },
    get(title) {
      const entry = entries.get(title);
      return entry && view(entry);
    },
    async add(title, choice = {}) {
      const known = entries.get(title);
      if (known !== undefined) {
        if (choice.priority === 'now' && known.priority === 'soon') known.priority = 'now';
        if (known.state === 'paused') await downloads.resume(title);
        return { ok: true };
      }
      const permitted = await options.permit(title);
      if (!permitted.ok) return permitted;
      const entry: Entry = { title, state: 'queued', wanted: undefined, priority: choice.priority ?? 'now', added: Math.max(0, ...[...entries.values()].map(({ added }) => added)) + 1, plan: undefined, trouble: undefined, choose: choice.choose };
      entries.set(title, entry);
      await save(entry);
      tell(entry);
      start();
      return { ok: true };
    },
    async pause(title) {
      const entry = entries.get(title);
      if (entry === undefined || entry.state === 'complete') return;
      entry.state = 'paused';
      await stop(entry);
      await change(entry, 'paused');
    },
    async resume(title) {
      const entry = entries.get(title);
      if (entry?.state !== 'paused') return;
      await change(entry, 'queued');
      downloads.wake();
    },
    async remove(title) {
      const entry = entries.get(title);
      if (entry === undefined) return;
      entries.delete(title);
      await stop(entry);
      await options.told(title, 'delete');
      await records.write([[`${PREFIX}${title}`, undefined]]);
      await files.forget(title);
      for (const wake of [...arrived]) wake();
    },
    async check(title) {
      const entry = entries.get(title);
      if (entry === undefined) return false;
      await files.verify(title);
      entry.plan = await readPlan(files, title);
      const whole = entry.plan?.files.every(({ path }) => files.length(title, path) !== undefined) ?? false;
      if (!whole && entry.state === 'complete') {
        await change(entry, 'queued', 'download-incomplete');
        start();
      }
      return whole;
    },
    waitFor(title) {
      const entry = entries.get(title);
      if (entry?.state === 'complete') return 0 as Micros;
      if (entry?.plan === undefined || rates.length === 0) return undefined;
      const awaited: AwaitedSegment[] = entry.plan.files.filter(({ path }) => files.length(title, path) === undefined).map(({ at, expected }) => ({ at, bytes: Math.ceil(expected) }));
      return prebufferWait(awaited, cautiousForecast(rates, STEP, (entry.plan.mpd.duration ?? STEP) as Micros));
    },
    serve(request) {
      const [title, path] = offlinePlace(new URL(request.url));
      const entry = entries.get(title as AssetId);
      return entry === undefined ? undefined : answer(entry, path, AbortSignal.any([request.signal, stopping.signal]));
    },
    token: (title) => (entries.get(title)?.state === 'complete' ? undefined : tokens.get(title)?.token),
    on: events.on,
    wake() {
      for (const entry of entries.values()) if (entry.state === 'paused' && entry.trouble === 'storage-full') entry.state = 'queued';
      waking.abort();
      start();
    },
    async settled() {
      while (pumping !== undefined) await pumping;
    },
    async close() {
      closed = true;
      stopping.abort();
      running?.abort.abort();
      waking.abort();
      await pumping?.catch(() => undefined);
    },
  };
  start();
  return downloads;
};

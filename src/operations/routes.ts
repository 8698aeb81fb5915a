// SPDX-License-Identifier: Apache-2.0
/**
 * The operator endpoints as one table: path → method → role and step.
 *
 * Invariant: every step that changes something runs inside `audited`, and needs at least role `operate`.
 */
import { SealcastError } from '#core/errors.ts';
import { type AccountId, type AssetId, accountId, assetId, deviceId, sessionId, representationId } from '#core/ids.ts';
import { type NewAsset, type NewEvent, type NewTitle, unavailable } from '#operations/actions.ts';
import { type Body, json, oneOf, readBody, text } from '#operations/answers.ts';
import type { AccountView, AuditPage, Summary } from '#operations/api.ts';
import { surveyAudit } from '#operations/audit.ts';
import { MARKING_RULES, markingRequest } from '#operations/marking-request.ts';
import { collectionOf, MEMBERSHIP_RULES, membershipRequest } from '#operations/membership-request.ts';
import { operate, type Route, route, type RouteContext, view } from '#operations/route.ts';
import { accountNames, hashOf, standingView } from '#operations/standing.ts';
import { accountSummaries, assetView, deviceView, liveHeartbeats, sessionView } from '#operations/views.ts';

/** Sessions looked at for lists; older ones are in the audit log and the store. */
const SESSION_LIST = 1000;
const AUDIT_PAGE = 100;
/** Above every sequence number. */
const LATEST = 999_999_999_999;

/** Marks made while coding stay invisible with so many variants. */
const MADE_VARIANTS = 5;
/** base64url of SHA-256. */
const HASH = /^[A-Za-z0-9_-]{43}$/;
const NOTE = { note: text(0, 200, false) };
const ASSET_RULES = { asset: text(1, 40), name: text(1, 120), scheme: oneOf(['cenc', 'cbcs']), clearKey: oneOf(['off', 'detect']) };
const EVENT_RULES = { ...ASSET_RULES, ...MARKING_RULES, marked: text(1, 300, false), mark: text(1, 300, false), timed: oneOf(['standard', 'strict']), bundle: text(1, 64, false), owner: text(1, 128, false) };
const EDGES_RULES = { edges: text(1, 4000) };
const TITLE_RULES = { ...ASSET_RULES, ...MARKING_RULES, source: text(1, 2000), equalSize: oneOf(['yes', 'no']), mark: oneOf(['yes', 'no']), ...MEMBERSHIP_RULES, collection: text(1, 64, false) };

const newAsset = (body: { asset?: string; name?: string; scheme?: string; clearKey?: string }): NewAsset => ({
  asset: assetId(body.asset),
  name: body.name ?? '',
  scheme: body.scheme === 'cbcs' ? 'cbcs' : 'cenc',
  clearKey: body.clearKey === 'detect' ? 'detect' : 'off',
});

/** Which marks or variants the packager makes. Throws `bad-request`. */
const madeVariants = (body: Body<typeof TITLE_RULES>): Pick<NewTitle, 'marked' | 'inBand'> => {
  const request = markingRequest(body);
  if (body.mark === 'yes' && (request !== undefined || body.equalSize !== undefined)) throw new SealcastError('bad-request', 'mark excludes variants: marks are in one copy, or in several');
  if (body.mark === 'yes') return { inBand: true };
  if (request === undefined && body.equalSize !== undefined) throw new SealcastError('bad-request', 'equalSize needs variants');
  if (request === undefined) return {};
  if (request.variants > MADE_VARIANTS) throw new SealcastError('bad-request', `the packager makes at most ${MADE_VARIANTS} variants`);
  return { marked: { ...request, equalSize: body.equalSize === 'yes' } };
};

/** Which tracks come in variants. Throws `bad-request`. */
const markedTracks = (body: Body<typeof EVENT_RULES>): Pick<NewEvent, 'marked'> => {
  const { marked } = body;
  const request = markingRequest(body);
  if (request === undefined && marked === undefined) return {};
  if (request === undefined || marked === undefined) throw new SealcastError('bad-request', 'variants and marked belong together');
  return { marked: { ...request, representations: marked.split(',').map((name) => representationId(name.trim())) } };
};

/** Which tracks get marks inside the bitstream. Throws `bad-request`. */
const inBandTracks = ({ mark, variants, marked }: Body<typeof EVENT_RULES>): Pick<NewEvent, 'inBand'> => {
  if (mark === undefined) return {};
  if (variants !== undefined || marked !== undefined) throw new SealcastError('bad-request', 'mark excludes variants: marks are in one copy, or in several');
  return { inBand: mark.split(',').map((name) => representationId(name.trim())) };
};

/** The bundle that opens an event. Throws `bad-request`. */
const bundleOf = ({ bundle, timed, owner }: Body<typeof EVENT_RULES>): Pick<NewEvent, 'bundle' | 'owner'> => {
  if (bundle === undefined && owner !== undefined) throw new SealcastError('bad-request', 'owner needs bundle');
  if (bundle !== undefined && timed !== undefined) throw new SealcastError('bad-request', 'bundle excludes timed: an in-band leaf opens its group at once');
  return bundle === undefined ? {} : { bundle: collectionOf(bundle), ...(owner !== undefined && { owner }) };
};

/** The collection that a title joins when it is added. Throws `bad-request`. */
const membershipOf = (body: Body<typeof TITLE_RULES>): Pick<NewTitle, 'membership'> => {
  const { collection, published, scope, actions, owner } = body;
  if (collection !== undefined) return { membership: membershipRequest(collection, body) };
  if ([published, scope, actions, owner].some((value) => value !== undefined)) throw new SealcastError('bad-request', 'published, scope, actions and owner need collection');
  return {};
};

const wholeNumber = (query: URLSearchParams, name: string, fallback: number, most: number): number => {
  const value = query.get(name);
  if (value === null) return fallback;
  const number = Number(value);
  if (!/^\d{1,15}$/.test(value) || number < 1 || number > most) throw new SealcastError('bad-request', `${name} must be a whole number from 1 to ${most}; got ${value.length} characters`);
  return number;
};

/** The whole table; steps throw SealcastErrors, which the handler turns into problem documents. */
export const operatorRoutes = (context: RouteContext): readonly Route[] => {
  const { catalogue, sessions, heartbeats, devices, accounts, policy, audit, clock, actions, audited, feed, streams, startedAt } = context;

  const liveByAsset = async (): Promise<ReadonlyMap<string, number>> => {
    const counts = new Map<string, number>();
    for (const { asset } of await heartbeats.live({}, clock.now())) counts.set(asset, (counts.get(asset) ?? 0) + 1);
    return counts;
  };
  const listAssets = async (kind: 'event' | 'title'): Promise<Response> => {
    const [entries, live] = await Promise.all([catalogue.list(), liveByAsset()]);
    const views = entries.filter((entry) => entry.kind === kind).map((entry) => assetView(entry, live.get(entry.asset) ?? 0));
    return json({ [`${kind}s`]: views });
  };
  const assetAnswer = async (asset: AssetId, kind: 'event' | 'title'): Promise<Response> => {
    const entry = await catalogue.get(asset);
    if (entry?.kind !== kind) throw new SealcastError('not-found', `no ${kind} of this id`);
    return json(assetView(entry, (await liveByAsset()).get(asset) ?? 0));
  };

  /** Events name accounts by their hash; whoever follows one wants the account itself. */
  const namedAccount = async (account: AccountId): Promise<AccountId> =>
    HASH.test(account) ? (accountNames(await sessions.list({ limit: SESSION_LIST })).get(account) ?? account) : account;

  return [
    route('/v1/events', {
      GET: view(() => listAssets('event')),
      POST: operate(async ({ request, operator }) => {
        const body = await readBody(request, EVENT_RULES);
        const event: NewEvent = { ...newAsset(body), ...markedTracks(body), ...inBandTracks(body), ...(body.timed !== undefined && { timed: body.timed === 'strict' ? 'strict' : 'standard' }), ...bundleOf(body) };
        const made = await audited(operator, 'event.create', event.asset, { name: event.name, scheme: event.scheme }, () => actions.createEvent(event));
        return json({ event: assetView(made.entry, 0), ingest: made.ingest }, 201);
      }),
    }),
    route('/v1/events/{id}', { GET: view(({ id }) => assetAnswer(assetId(id), 'event')) }),
    route('/v1/events/{id}/release-edges', {
      POST: operate(async ({ request, operator, id }) => {
        const asset = assetId(id);
        const { setReleaseEdges } = actions;
        if (setReleaseEdges === undefined) throw unavailable('authorising edges', 'the key server');
        const { edges = '' } = await readBody(request, EDGES_RULES);
        const names = edges === 'all' ? 'all' : edges.split(',').map((name) => name.trim()).filter((name) => name !== '' && name !== 'none');
        if (names !== 'all' && names.some((name) => !/^[a-z0-9][a-z0-9-]{0,39}$/.test(name))) throw new SealcastError('bad-request', 'edges are names separated by commas, `all` or `none`');
        await audited(operator, 'event.release-edges', asset, { edges }, () => setReleaseEdges(asset, names));
        return assetAnswer(asset, 'event');
      }),
    }),
    route('/v1/events/{id}/end', {
      POST: operate(async ({ request, operator, id }) => {
        const asset = assetId(id);
        const { note = '' } = await readBody(request, NOTE);
        if ((await catalogue.get(asset))?.kind !== 'event') throw new SealcastError('not-found', 'no event of this id');
        await audited(operator, 'event.end', asset, { note }, () => actions.endEvent(asset));
        return assetAnswer(asset, 'event');
      }),
    }),
    route('/v1/titles', {
      GET: view(() => listAssets('title')),
      POST: operate(async ({ request, operator }) => {
        const { addTitle } = actions;
        if (addTitle === undefined) throw unavailable('adding titles', 'the packager');
        const body = await readBody(request, TITLE_RULES);
        const title = { ...newAsset(body), source: body.source ?? '', ...madeVariants(body), ...membershipOf(body) };
        const entry = await audited(operator, 'title.add', title.asset, { name: title.name, scheme: title.scheme }, () => addTitle(title));
        return json({ title: assetView(entry, 0) }, 201);
      }),
    }),
    route('/v1/titles/{id}', { GET: view(({ id }) => assetAnswer(assetId(id), 'title')) }),
    route('/v1/accounts', {
      GET: view(async () => {
        const [records, live] = await Promise.all([sessions.list({ limit: SESSION_LIST }), liveHeartbeats(heartbeats, undefined, clock.now())]);
        return json({ accounts: accountSummaries(records, live) });
      }),
    }),
    route('/v1/accounts/{id}', {
      GET: view(async ({ id }) => {
        const account = await namedAccount(accountId(id));
        const [records, live, known, state] = await Promise.all([
          sessions.list({ account, limit: SESSION_LIST }),
          liveHeartbeats(heartbeats, account, clock.now()),
          devices.listByAccount(account),
          accounts.get(hashOf(account)).then(async (found) => found ?? (HASH.test(account) ? accounts.get(account) : undefined)),
        ]);
        if (records.length === 0 && known.length === 0 && state === undefined) throw new SealcastError('not-found', 'nothing is known of this account');
        const answer: AccountView = { account, sessions: records.map((record) => sessionView(record, live)), devices: known.map(deviceView), standing: standingView(state, policy, clock.now()) };
        return json(answer);
      }),
    }),
    route('/v1/accounts/{id}/end', {
      POST: operate(async ({ request, operator, id }) => {
        const account = accountId(id);
        const { note = '' } = await readBody(request, NOTE);
        return json({ ended: await audited(operator, 'account.end', account, { note }, () => actions.endAccount(account)) });
      }),
    }),
    route('/v1/operations/sessions', {
      GET: view(async ({ query }) => {
        const limit = wholeNumber(query, 'limit', 200, SESSION_LIST);
        const asset = query.get('asset');
        const filter = { limit, ...(asset === null ? {} : { asset: assetId(asset) }), ...(query.get('live') === 'true' ? { live: true } : {}) };
        const [records, live] = await Promise.all([sessions.list(filter), liveHeartbeats(heartbeats, undefined, clock.now())]);
        return json({ sessions: records.map((record) => sessionView(record, live)) });
      }),
    }),
    route('/v1/sessions/{id}/end', {
      POST: operate(async ({ request, operator, id }) => {
        const session = sessionId(id);
        const { note = '' } = await readBody(request, NOTE);
        const record = await sessions.get(session);
        if (record === undefined) throw new SealcastError('not-found', 'no session of this id');
        const ended = await audited(operator, 'session.end', session, { account: record.account, note }, () => actions.endSession(session));
        return json({ ended });
      }),
    }),
    route('/v1/devices/{id}/revoke', {
      POST: operate(async ({ request, operator, id }) => {
        const device = deviceId(id);
        const { note = '' } = await readBody(request, NOTE);
        const record = await devices.get(device);
        if (record === undefined) throw new SealcastError('not-found', 'no device of this id');
        const revoked = await audited(operator, 'device.revoke', device, { account: record.account, note }, () => actions.revokeDevice(device));
        return json({ revoked });
      }),
    }),
    route('/v1/audit', {
      GET: view(async ({ query }) => {
        const before = wholeNumber(query, 'before', LATEST, LATEST);
        const limit = wholeNumber(query, 'limit', AUDIT_PAGE, 1000);
        const { last, brokenAt } = await surveyAudit(audit);
        const newest = Math.min(before - 1, last);
        const entries = newest < 1 ? [] : await audit.read(Math.max(0, newest - limit), Math.min(limit, newest));
        const page: AuditPage = { entries: entries.toReversed(), total: last, verified: brokenAt === undefined, ...(brokenAt === undefined ? {} : { brokenAt }) };
        return json(page);
      }),
    }),
    route('/v1/operations/stream', { GET: view(({ request }) => Promise.resolve(streams.open(request))) }),
    route('/v1/operations/summary', {
      GET: view(({ operator }) => {
        const summary: Summary = { at: clock.now(), startedAt, operator, can: { addTitle: actions.addTitle !== undefined }, figures: feed.latest() };
        return Promise.resolve(json(summary));
      }),
    }),
  ];
};

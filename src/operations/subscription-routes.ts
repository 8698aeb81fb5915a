// SPDX-License-Identifier: Apache-2.0
/**
 * The operator endpoints of subscriptions: collections, roots per account and device, usage for payouts, secure stops.
 *
 * docs/guide/subscriptions.md. Invariant: what changes a collection is audited and needs role `operate`; who played what is told to
 * operators only.
 */
import { SealcastError } from '#core/errors.ts';
import { accountId, assetId, deviceId } from '#core/ids.ts';
import type { Micros } from '#core/time.ts';
import { unavailable } from '#operations/actions.ts';
import { json, readBody, text } from '#operations/answers.ts';
import { collectionOf, MEMBERSHIP_RULES, membershipRequest } from '#operations/membership-request.ts';
import type { CollectionPage, CollectionsView, SubscriberView, SubscriptionsView, StopsView, UsageRecordsView, UsageReportView } from '#operations/api.ts';
import { operate, type Route, route, type RouteContext, view } from '#operations/route.ts';
import { accountDeviceView, membershipView, rootView, stopView, usageCsv, usageRecordView, usageTotalView } from '#operations/subscription-views.ts';
import type { Membership, UsageKey } from '#ports';

const PAGE = 500;
const ROOTS = 500;
const TOTALS = 100_000;
const RECORDS = 200;
/** Ended sessions looked at for stops. */
const SESSIONS = 1000;
const LATEST = Number.MAX_SAFE_INTEGER as Micros;
const KEYS: readonly UsageKey[] = ['title', 'account', 'owner'];

const MEMBER_RULES = { ...MEMBERSHIP_RULES, asset: text(1, 40), note: text(0, 200, false) };
const REMOVE_RULES = { asset: text(1, 40), note: text(0, 200, false) };

/** Whole seconds, a date (`2026-11-01`), or an ISO 8601 instant, UTC. */
const instantOf = (query: URLSearchParams, name: string, fallback: Micros): Micros => {
  const given = query.get(name);
  if (given === null || given === '') return fallback;
  const millis = /^\d{1,12}$/.test(given) ? Number(given) * 1000 : /^\d{4}-\d{2}-\d{2}(?:T[\d:.]{5,12}Z)?$/.test(given) ? Date.parse(given) : Number.NaN;
  if (!Number.isFinite(millis)) throw new SealcastError('bad-request', `${name} must be seconds since 1970 or a date such as 2026-11-01; got ${given.length} characters`);
  return (millis * 1000) as Micros;
};

const keyOf = (query: URLSearchParams): UsageKey => {
  const by = query.get('by') ?? 'title';
  const key = KEYS.find((known) => known === by);
  if (key === undefined) throw new SealcastError('bad-request', `by must be one of ${KEYS.join(', ')}`);
  return key;
};

const csv = (body: string, name: string): Response =>
  new Response(body, { headers: { 'Content-Type': 'text/csv; charset=utf-8', 'Content-Disposition': `attachment; filename="${name}.csv"`, 'Cache-Control': 'no-store', 'X-Content-Type-Options': 'nosniff' } });

/** These routes, on the role's own stores and actions. */
export const subscriptionRoutes = ({ collections, roots, usage, devices, sessions, catalogue, clock, actions, audited }: RouteContext): readonly Route[] => {
  const page = async (collection: string, after: string | null): Promise<CollectionPage> => {
    const titles = await collections.list(collection, { ...(after !== null && after !== '' && { after: assetId(after) }), limit: PAGE });
    const last = titles.length === PAGE ? titles.at(-1)?.asset : undefined;
    return { collection, titles: titles.map(membershipView), ...(last !== undefined && { next: last }) };
  };

  return [
    route('/v1/collections', {
      GET: view(async () => {
        const answer: CollectionsView = { collections: await collections.collections() };
        return json(answer);
      }),
    }),
    route('/v1/collections/{id}', { GET: view(async ({ id, query }) => json(await page(collectionOf(id), query.get('after')))) }),
    route('/v1/collections/{id}/titles', {
      POST: operate(async ({ request, operator, id }) => {
        const collection = collectionOf(id);
        const { setMembership } = actions;
        if (setMembership === undefined) throw unavailable('adding to collections', 'the licence server');
        const body = await readBody(request, MEMBER_RULES);
        const asset = assetId(body.asset);
        if ((await catalogue.get(asset)) === undefined) throw new SealcastError('not-found', 'no event or title of this id');
        const membership: Membership = { published: clock.now(), ...membershipRequest(collection, body), asset };
        const { published, scope, owner = '' } = membership;
        await audited(operator, 'collection.add', asset, { collection, published, scope, actions: membership.actions.join(','), owner, note: body.note ?? '' }, () => setMembership(membership));
        return json({ title: membershipView(membership) }, 201);
      }),
    }),
    route('/v1/collections/{id}/remove', {
      POST: operate(async ({ request, operator, id }) => {
        const collection = collectionOf(id);
        const { removeMembership } = actions;
        if (removeMembership === undefined) throw unavailable('removing from collections', 'the licence server');
        const body = await readBody(request, REMOVE_RULES);
        const asset = assetId(body.asset);
        return json({ removed: await audited(operator, 'collection.remove', asset, { collection, note: body.note ?? '' }, () => removeMembership(collection, asset)) });
      }),
    }),
    route('/v1/subscriptions', {
      GET: view(async ({ query }) => {
        const now = clock.now();
        const account = query.get('account');
        const device = query.get('device');
        const filter = { ...(account !== null && { account: accountId(account) }), ...(device !== null && { device: deviceId(device) }), limit: ROOTS };
        const [plans, given] = await Promise.all([roots.plans(now), roots.list(filter)]);
        const answer: SubscriptionsView = { at: now, plans, roots: given.map((root) => rootView(root, now)) };
        return json(answer);
      }),
    }),
    route('/v1/subscriptions/{id}', {
      GET: view(async ({ id }) => {
        const account = accountId(id);
        const now = clock.now();
        const [known, given, records] = await Promise.all([devices.listByAccount(account), roots.list({ account, limit: ROOTS }), usage.list({ account, limit: RECORDS })]);
        if (known.length === 0 && given.length === 0 && records.length === 0) throw new SealcastError('not-found', 'nothing is known of this account');
        const chains = await Promise.all(known.map(({ device }) => usage.chain(device)));
        const answer: SubscriberView = { account, at: now, devices: known.map((device, index) => accountDeviceView(device, given, chains[index], now)), usage: records.map(usageRecordView) };
        return json(answer);
      }),
    }),
    route('/v1/usage/report', {
      GET: view(async ({ query }) => {
        const by = keyOf(query);
        const [from, to] = [instantOf(query, 'from', 0 as Micros), instantOf(query, 'to', LATEST)];
        if (to <= from) throw new SealcastError('bad-request', 'to must be after from');
        const format = query.get('format') ?? 'json';
        if (format !== 'json' && format !== 'csv') throw new SealcastError('bad-request', 'format must be json or csv');
        const rows = await usage.totals(by, { from, to, limit: TOTALS });
        if (format === 'csv') return csv(usageCsv(by, rows), `usage-by-${by}`);
        const answer: UsageReportView = { by, from, to, rows: rows.map(usageTotalView) };
        return json(answer);
      }),
    }),
    route('/v1/usage/records', {
      GET: view(async ({ query }) => {
        const [account, device, title] = [query.get('account'), query.get('device'), query.get('title')];
        const filter = { ...(account !== null && { account: accountId(account) }), ...(device !== null && { device: deviceId(device) }), ...(title !== null && { title: assetId(title) }), limit: RECORDS };
        const answer: UsageRecordsView = { records: (await usage.list(filter)).map(usageRecordView) };
        return json(answer);
      }),
    }),
    route('/v1/operations/stops', {
      GET: view(async () => {
        const stopped = (await sessions.list({ limit: SESSIONS })).filter(({ endReason }) => endReason === 'viewer');
        const answer: StopsView = { stops: stopped.map(stopView).sort((a, b) => b.endedAt - a.endedAt) };
        return json(answer);
      }),
    }),
  ];
};

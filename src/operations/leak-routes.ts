// SPDX-License-Identifier: Apache-2.0
/**
 * The operator endpoints of leaks: accusations in, their evidence out, decisions on them, and who is to be searched.
 *
 * docs/wire/observation.md, "Reporting". Invariant: accusing and deciding need role `operate` and are audited by the desk.
 */
import { accountId, assetId } from '#core/ids.ts';
import { SealcastError } from '#core/errors.ts';
import { sharedTokenSigns } from '#core/policy/shared-token.ts';
import { MAX_VIEWER } from '#core/watermark/index.ts';
import type { LeakRecord, LeakStore, ViewerNumberStore } from '#ports';
import { document, json, object, oneOf, readBody, text } from '#operations/answers.ts';
import type { LeakView } from '#operations/api.ts';
import type { LeakDesk } from '#operations/leaks.ts';
import { operate, type Route, route, view } from '#operations/route.ts';

const LIST = 200;
/** An observation of 4,096 positions with eight likelihoods each. */
const OBSERVATION_LIMIT = 1_000_000;
const BODY_LIMIT = 2 * OBSERVATION_LIMIT;
const LEAK = /^[A-Za-z0-9_-]{22}$/;
const REPORT_RULES = { report: object, observation: document(OBSERVATION_LIMIT) };
const DECISION_RULES = { action: oneOf(['end-sessions', 'raise-level', 'end-account', 'dismiss'], true), note: text(0, 200, false) };

/** As operators see it: with what speaks for a shared token. */
export const leakView = (record: LeakRecord): LeakView => ({ ...record, signs: sharedTokenSigns(record.carriers) });

const known = (id: string): string => {
  if (!LEAK.test(id)) throw new SealcastError('not-found', 'no leak of this id');
  return id;
};

/** These routes, on a desk and its store. */
export const leakRoutes = ({ desk, leaks, viewerNumbers }: { desk: LeakDesk; leaks: LeakStore; viewerNumbers: Pick<ViewerNumberStore, 'whose'> }): readonly Route[] => [
  route('/v1/leaks', {
    GET: view(async ({ query }) => {
      const [asset, account] = [query.get('asset'), query.get('account')];
      const found = await leaks.list({ limit: LIST, ...(asset !== null && { asset: assetId(asset) }), ...(account !== null && { account: accountId(account) }) });
      return json({ leaks: found.map(leakView) });
    }),
    POST: operate(async ({ request, operator }) => {
      const { report = {}, observation } = await readBody(request, REPORT_RULES, BODY_LIMIT);
      const { record, known: before } = await desk.accuse(operator, { report, ...(observation !== undefined && { observation }) });
      return json({ leak: leakView(record) }, before ? 200 : 201);
    }),
  }),
  route('/v1/leaks/{id}', {
    GET: view(async ({ id }) => {
      const record = await leaks.get(known(id));
      if (record === undefined) throw new SealcastError('not-found', 'no leak of this id');
      return json({ leak: leakView(record) });
    }),
  }),
  route('/v1/leaks/{id}/decide', {
    POST: operate(async ({ request, operator, id }) => {
      const { action = 'dismiss', note = '' } = await readBody(request, DECISION_RULES);
      return json({ leak: leakView(await desk.decide(operator, known(id), action, note)) });
    }),
  }),
  route('/v1/viewers/{id}', {
    GET: view(async ({ id, query }) => {
      const asset = assetId(id);
      const number = query.get('viewer');
      if (number !== null && !(/^\d{1,14}$/.test(number) && Number(number) <= MAX_VIEWER)) throw new SealcastError('bad-request', 'viewer must be a viewer number');
      const holder = number === null ? undefined : await viewerNumbers.whose(asset, Number(number));
      return json({ asset, ...(await desk.population(asset)), ...(number !== null && { viewer: Number(number), account: holder?.account ?? null, device: holder?.device ?? null }) });
    }),
  }),
];

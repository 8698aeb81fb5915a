// SPDX-License-Identifier: Apache-2.0
/**
 * The demo's stand-ins for an operator's own backend: what there is to watch, and an entitlement for it.
 *
 * In production `entitlement` asks your backend, which knows who is signed in and signs a JWT (docs/wire/session.md).
 */
import { service } from './address.js';

export { service };

/** The asset named in the page's address (`?asset=`), else the first event, else the first title. */
export const chooseAsset = async () => {
  const wanted = new URLSearchParams(location.search).get('asset');
  if (wanted !== null) return wanted;
  const catalogue = await (await fetch(`${service}/v1/demo/catalogue`)).json();
  const found = catalogue.find(({ kind }) => kind === 'event') ?? catalogue[0];
  if (found === undefined) throw new Error('the service has nothing to watch yet');
  return found.asset;
};

export const entitlement = (asset) => async () => {
  const response = await fetch(`${service}/v1/demo/entitlement`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ account: 'example-viewer', asset }) });
  return (await response.json()).entitlement;
};

// SPDX-License-Identifier: Apache-2.0
/**
 * What there is to watch and the right to watch it: from the demo's two public endpoints, or from the address's fragment.
 *
 * A provider's own site links here with `#asset=...&entitlement=...`; a fragment is never sent to a server.
 * Invariant: an entitlement is taken out of the address bar before anything else happens, so that it is not copied or bookmarked.
 */
export type Programme = { readonly asset: string; readonly kind: 'event' | 'title'; readonly name: string; /** `created`: an event whose media has not begun. */ readonly state?: string; /** Released period by period: everybody holds it, nobody opens it before its instant. */ readonly timed?: 'standard' | 'strict' };
export type Source =
  | { readonly from: 'demo'; readonly programmes: readonly Programme[]; readonly account: string; readonly entitlement: (asset: string) => Promise<string>; /** What there is now. */ readonly refresh: () => Promise<readonly Programme[]> }
  | { readonly from: 'link'; readonly programmes: readonly Programme[]; readonly entitlement: (asset: string) => Promise<string> }
  | { readonly from: 'nowhere' };

const ACCOUNT = 'sealcast-demo-account';

/** One made-up account per tab, so that two tabs are two viewers. */
const demoAccount = (): string => {
  const known = sessionStorage.getItem(ACCOUNT);
  if (known !== null) return known;
  const account = `guest-${crypto.getRandomValues(new Uint32Array(1))[0]?.toString(36) ?? '0'}`;
  sessionStorage.setItem(ACCOUNT, account);
  return account;
};

/** A link's entitlement serves one session; the next one needs a new link. */
const linked = (asset: string, entitlement: string): Source => {
  let left: string | undefined = entitlement;
  return {
    from: 'link',
    programmes: [{ asset, kind: 'event', name: asset }],
    entitlement: () => {
      const token = left;
      left = undefined;
      return token === undefined ? Promise.reject(new Error('This link has been used. Please ask your provider for a new one.')) : Promise.resolve(token);
    },
  };
};

const requestEntitlement = async (asset: string, account: string): Promise<string> => {
  const response = await fetch('/v1/demo/entitlement', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ asset, account }) });
  if (!response.ok) throw new Error('The demo’s sign-in is not available right now.');
  return ((await response.json()) as { entitlement: string }).entitlement;
};

/** Undefined where there is no demo. */
const listProgrammes = async (): Promise<readonly Programme[] | undefined> => {
  const response = await fetch('/v1/demo/catalogue', { cache: 'no-store' });
  if (response.status === 404) return undefined;
  if (!response.ok) throw new Error('The service is briefly unavailable.');
  return (await response.json()) as Programme[];
};

/** Rejects if the service cannot be reached. */
export const openSource = async (): Promise<Source> => {
  const fragment = new URLSearchParams(location.hash.slice(1));
  const [asset, entitlement] = [fragment.get('asset'), fragment.get('entitlement')];
  if (asset !== null && entitlement !== null) {
    history.replaceState(null, '', `${location.pathname}#asset=${encodeURIComponent(asset)}`);
    return linked(asset, entitlement);
  }
  const programmes = await listProgrammes();
  if (programmes === undefined) return { from: 'nowhere' };
  const account = demoAccount();
  return { from: 'demo', programmes, account, entitlement: (wanted) => requestEntitlement(wanted, account), refresh: async () => (await listProgrammes()) ?? programmes };
};

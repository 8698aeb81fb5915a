// SPDX-License-Identifier: Apache-2.0
/** What a verified token grants, and what a refusal says. Types only. */
import type { ErrorCode } from '#core/errors.ts';
import type { AssetId, SessionId } from '#core/ids.ts';
import type { Micros } from '#core/time.ts';
import type { RenewalClaims } from '#core/token/renewal-claims.ts';
import type { UriRule } from '#core/token/uri-rules.ts';

/** A refusal to be answered as a problem document; `detail` is for the developer and holds no secret. */
export type Denial = { readonly ok: false; readonly code: ErrorCode; readonly detail: string };

/** How the viewer's copy is marked: by the bits of a pattern, or by an id that keys of the edge turn into symbols. */
export type ViewerMark =
  | { readonly kind: 'pattern'; readonly bits: Uint8Array; readonly length: number }
  | { readonly kind: 'id'; readonly vendor: number; readonly id: string; readonly operator: number | undefined; readonly keyVersion: number };

/** What a verified token says, whatever its format. */
export type Granted = {
  readonly session?: SessionId;
  /** The only asset it opens; absent: what `uri` allows. */
  readonly asset?: AssetId;
  readonly expiresAt: Micros;
  readonly notBefore?: Micros;
  readonly uri?: readonly UriRule[];
  readonly mark?: ViewerMark;
  /** How another maker's token wants to be renewed. */
  readonly renewal?: RenewalClaims;
};

// SPDX-License-Identifier: Apache-2.0
/** What a page imports. Outside this repository: `from 'sealcast/client'` and `from 'sealcast/player'`. */
export * from '../src/client/index.ts';
export * from '../src/player/index.ts';

// SPDX-License-Identifier: Apache-2.0
/**
 * Writes the generated reference pages: `node scripts/build-reference.ts`.
 *
 * Invariant: `src/entry/config/config.test.ts` fails when the page and the schema differ.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { referenceMarkdown } from '../src/entry/config/index.ts';

const folder = new URL('../docs/reference/', import.meta.url);
mkdirSync(folder, { recursive: true });
writeFileSync(new URL('configuration.md', folder), referenceMarkdown());

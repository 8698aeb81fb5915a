// SPDX-License-Identifier: Apache-2.0
/** Writes the table of behaviours and their tests into SPECS.md: `node scripts/build-behaviours.ts`. */
import { readFileSync, writeFileSync } from 'node:fs';
import { SPECS, withTable } from '../test/architecture/behaviours.ts';

writeFileSync(SPECS, withTable(readFileSync(SPECS, 'utf8')));

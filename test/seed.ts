// SPDX-License-Identifier: Apache-2.0
/**
 * One seed for every property test, so that a run can be repeated; `SEALCAST_SEED=N` looks elsewhere.
 *
 * Counterexamples once found are kept as examples beside their property, not by their seed.
 */
import fc from 'fast-check';

fc.configureGlobal({ seed: Number(process.env['SEALCAST_SEED'] ?? 20_261_121) });

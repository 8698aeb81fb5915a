// SPDX-License-Identifier: Apache-2.0
/** Redis or Valkey as the concurrency record of many processes. */
export { openRedisConcurrency } from './concurrency.ts';
export type { RedisConcurrency, RedisConcurrencyOptions } from './concurrency.ts';

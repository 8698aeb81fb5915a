// SPDX-License-Identifier: Apache-2.0
/** The concurrency record in memory against its contract and the naive reference. */
import { describe } from 'vitest';
import { createMemoryConcurrency } from '#adapters/memory/concurrency.ts';
import { concurrencyStoreContract } from './concurrency-store-contract.ts';
import { concurrencyStoreModel } from './concurrency-store-model.ts';

describe('concurrency in memory', () => concurrencyStoreContract(async () => createMemoryConcurrency()));
describe('concurrency in memory, by model', () => concurrencyStoreModel(async () => createMemoryConcurrency(), 300));

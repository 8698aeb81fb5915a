// SPDX-License-Identifier: Apache-2.0
/** Stores on plain files: objects of titles and live windows, and the journal of heartbeats. */
export { openJournalledHeartbeats, type JournalledHeartbeatsOptions } from './heartbeats.ts';
export { createFileObjectStore, type FileObjectStoreOptions } from './objects.ts';

// SPDX-License-Identifier: Apache-2.0
/**
 * What an app sees of its downloads.
 *
 * docs/wire/subscription.md, "Downloads" (B130-B135). Invariant: types only; every state that is not well has a sentence for the viewer.
 */
import type { AssetId } from '#core/ids.ts';
import type { ErrorCode } from '#core/errors.ts';
import type { Micros } from '#core/time.ts';
import type { MpdTrack } from '../mpd.ts';
import type { Refused } from './subscriptions.ts';

/** `queued` and `running` go on by themselves, also after a restart; `paused` waits for `resume`. */
export type DownloadState = 'queued' | 'running' | 'paused' | 'complete';

/** One download as it is now. */
export type Download = {
  readonly title: AssetId;
  readonly state: DownloadState;
  /** Files there, and files there will be; 0 before the manifest came. */
  readonly done: number;
  readonly total: number;
  readonly bytes: number;
  readonly duration: Micros;
  /** Ids of the renditions chosen. */
  readonly tracks: readonly string[];
  /** What keeps it from going on. */
  readonly trouble: { readonly code: ErrorCode; readonly text: string } | undefined;
};

/** How a title is downloaded. */
export type DownloadChoice = {
  /** Picks renditions. Default: the lowest video and the first audio. */
  readonly choose?: (tracks: readonly MpdTrack[]) => readonly MpdTrack[];
  /** `soon` goes after everything that a viewer asked for. Default `now`. */
  readonly priority?: 'now' | 'soon';
};

/** The downloads of a device. */
export type Downloads = {
  readonly all: readonly Download[];
  get(title: AssetId): Download | undefined;
  /** Queues a title; a title that is there already goes on. Refused where the device may not keep it. */
  add(title: AssetId, choice?: DownloadChoice): Promise<{ readonly ok: true } | Refused>;
  pause(title: AssetId): Promise<void>;
  resume(title: AssetId): Promise<void>;
  /** Stops it and removes its files. */
  remove(title: AssetId): Promise<void>;
  /** Looks at every file; damaged and missing ones are fetched again. True if the title is whole. */
  check(title: AssetId): Promise<boolean>;
  /** How long to wait before play may start without standing still: 0 for a complete title, undefined before anything is known. */
  waitFor(title: AssetId): Micros | undefined;
  /** Answers a request for media of a download, waiting for a file that is on its way; undefined for all other requests. */
  serve(request: Request): Promise<Response> | undefined;
  /** A token for the title's media that are not there yet, while its download runs. */
  token(title: AssetId): string | undefined;
  on(name: 'changed', listener: (download: Download) => void): () => void;
  /** The connection is back, or room was made: goes on at once. */
  wake(): void;
  /** Resolves once nothing is queued or running, or nothing goes on without help. */
  settled(): Promise<void>;
  /** Stops everything; what is there stays and goes on at the next start. */
  close(): Promise<void>;
};

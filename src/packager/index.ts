// SPDX-License-Identifier: Apache-2.0
/** The packager role: `sealcast/packager`. */
export { createPackager } from './packager.ts';
export type { Packager, PackagerOptions, TrackStatus } from './packager.ts';
export type { IngestAccess } from './ingest.ts';
export type { LiveTimes } from './live-event.ts';
export { packTitle } from './title.ts';
export type { PackedTitle, PackTitleOptions, TitleKeys } from './title.ts';
export { titleFolder } from './origin.ts';
export { eventFolder } from './live-event.ts';
export { createClipLoop } from './loop.ts';
export type { ClipLoop, LoopTrack } from './loop.ts';
export { createLiveOriginals, LIVE_FORMAT, liveReferenceFolder, referenceRepresentation, type LiveOriginals } from './live-originals.ts';
export { variantName } from './title-plan.ts';
export { createMarkProfiler } from './mark-profiler.ts';
export type { ChunkPlace, ChunkSites, MarkProfiler, MarkProfilerOptions, SegmentCapacity } from './mark-profiler.ts';
export { createMarkReferences } from './mark-reference.ts';
export type { MarkReferences } from './mark-reference.ts';
export { createTrackMarker } from './mark-track.ts';
export type { MarkSettings, TrackMarker } from './mark-track.ts';
export type { LiveMarks } from './live-marks.ts';

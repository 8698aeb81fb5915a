// SPDX-License-Identifier: Apache-2.0
/** The chapters of the demo, in the order of `--all`. The first one is the core story of `--once`. */
import type { Chapter } from './chapter.ts';
import { coreChapter } from './core-chapter.ts';
import { leakChapter, leakInBandChapter } from './leak-chapter.ts';
import { levelsChapter } from './levels-chapter.ts';
import { limitChapter } from './limit-chapter.ts';
import { offlineChapter } from './offline-chapter.ts';
import { outageChapter } from './outage-chapter.ts';
import { raceChapter } from './race-chapter.ts';

/** All chapters, the core story first. */
export const CHAPTERS: readonly Chapter[] = [coreChapter, outageChapter, levelsChapter, limitChapter, leakChapter, leakInBandChapter, raceChapter, offlineChapter];

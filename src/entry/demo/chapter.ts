// SPDX-License-Identifier: Apache-2.0
/**
 * What a chapter of the demo is: steps that really happen, each with a verdict and its figures.
 *
 * Invariant: a step that throws has failed, with the reason as a figure; it never ends the story.
 */
import type { Stage } from './stage.ts';

/** A figure of a step as the report prints it. */
export type FigureValue = number | string | boolean;
/** One thing that was tried, what it claims, and what was measured. */
export type Step = { readonly name: string; readonly claim: string; readonly ok: boolean; readonly seconds: number; readonly figures: Readonly<Record<string, FigureValue>> };

/** A part of the guided tour that can be played alone. */
export type Chapter = {
  readonly name: string;
  readonly title: string;
  /** `none`: it does without the film, which then need not be made. */
  readonly film?: 'none';
  /** `none`: it brings its own live event; the scene need not be on air. */
  readonly scene?: 'none';
  /** True: it needs the timed event beside the live one. */
  readonly timed?: true;
  /** Takes at most 120 s in real time. */
  run(stage: Stage): Promise<readonly Step[]>;
};

/** Runs one step and times it. */
export const step = async (name: string, claim: string, run: () => Promise<{ ok: boolean; figures: Readonly<Record<string, FigureValue>> }>): Promise<Step> => {
  const began = Date.now();
  const seconds = (): number => Math.round((Date.now() - began) / 100) / 10;
  try {
    const { ok, figures } = await run();
    return { name, claim, ok, seconds: seconds(), figures };
  } catch (error) {
    return { name, claim, ok: false, seconds: seconds(), figures: { fault: error instanceof Error ? error.message : String(error) } };
  }
};

/** Polls until `condition` holds; false after `limit` ms. */
export const until = async (condition: () => boolean | Promise<boolean>, limit: number): Promise<boolean> => {
  const end = Date.now() + limit;
  for (;;) {
    if (await condition()) return true;
    if (Date.now() >= end) return false;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
};

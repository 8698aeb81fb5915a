// SPDX-License-Identifier: Apache-2.0
/**
 * From an observation to a verdict: the book and tracer a header describes, and the batch run over its readings.
 *
 * Invariant: the same file and mark secret give the same report, live or years later.
 */
import type { TracedDelivery } from '#core/edge-bundle/delivery-plan.ts';
import { SealcastError } from '#core/errors.ts';
import { createAdaptiveBook, createAlignedBook, createBiasedBook, createPrefixBook, type CodeBook, type EpochKeys } from '#core/watermark/index.ts';
import { createAdaptiveTracer } from './adaptive.ts';
import { createAlignedTracer } from './aligned.ts';
import { createMixtureTracer } from './biased.ts';
import { correlationOf } from './correlation.ts';
import { createPrefixTracer } from './prefix.ts';
import { createSwitchedTracer } from './switched.ts';
import type { Reading } from './likelihood.ts';
import type { BookDescription, Observation, ObservationHeader } from './observation.ts';
import type { ReportOptions, TraceReport, Tracer } from './report.ts';

/** The code book a description stands for; `keys` are needed by `aligned` and `biased`. */
export const createBook = (description: BookDescription, alphabet: number, keys: EpochKeys): CodeBook => {
  switch (description.kind) {
    case 'adaptive':
      return createAdaptiveBook({ alphabet, shortest: description.shortest });
    case 'aligned':
      return createAlignedBook({ alphabet, schedule: description.schedule, keys });
    case 'biased':
      return createBiasedBook({ alphabet, schedule: description.schedule, bias: description.bias, keys });
  }
};

/** The copies of viewers that an edge gives: the book's, or those of its prefix code. Two-phase copies depend on the edge; here they are the viewers' own. */
export const createCopies = (description: BookDescription, delivery: TracedDelivery | undefined, alphabet: number, keys: EpochKeys): Pick<CodeBook, 'symbol'> => {
  const step = description.kind === 'aligned' ? description.schedule[0] : undefined;
  if (delivery?.kind !== 'prefix' || step === undefined) return createBook(description, alphabet, keys);
  return createPrefixBook({ alphabet, length: step.length, from: step.from, blocks: delivery.blocks }, keys);
};

/** The tracer of an event whose edges shared copies (docs/guide/sequences.md, "Inner delivery"). */
const createDeliveredTracer = ({ alphabet, viewers, eps, book }: ObservationHeader, delivery: TracedDelivery, keys: EpochKeys): Tracer => {
  if (delivery.kind === 'prefix' && book.kind === 'aligned' && book.schedule[0] !== undefined) {
    const { from, length } = book.schedule[0];
    return createPrefixTracer({ book: createPrefixBook({ alphabet, length, from, blocks: delivery.blocks }, keys), eps });
  }
  if (delivery.kind === 'two-phase' && book.kind === 'biased') {
    const { edges, switched } = delivery;
    return createSwitchedTracer({ book: createBiasedBook({ alphabet, schedule: book.schedule, bias: book.bias, keys }), viewers, edges, switched, eps });
  }
  throw new SealcastError('bad-request', 'prefix delivery needs an aligned book, two-phase delivery a biased one');
};

/**
 * The streaming tracer for a header: `aligned` also searches the header's offsets. Of marks inside the bitstream (several slots
 * a segment) it accuses only where the correlation agrees; hypotheses that were tried take their shares of eps.
 */
export const createTracer = (header: ObservationHeader, keys: EpochKeys): Tracer => {
  const { hypotheses = 1, eps } = header;
  const tracer = createPlainTracer({ ...header, eps: eps / hypotheses }, keys);
  return header.slots > 1 && header.delivery === undefined ? withSecondOpinion(tracer, header, keys) : tracer;
};

const withSecondOpinion = (tracer: Tracer, { alphabet, viewers, eps, book: description, hypotheses = 1 }: ObservationHeader, keys: EpochKeys): Tracer => {
  const book = createBook(description, alphabet, keys);
  const readings: Reading[] = [];
  return {
    observe(reading) {
      tracer.observe(reading);
      readings.push(reading);
    },
    report(options) {
      const report = tracer.report(options);
      if (report.viewer === null) return report;
      const correlation = correlationOf({ book, readings, viewer: report.viewer, viewers, eps, hypotheses, offset: report.offset });
      const certain = { ...report, correlation, falseAccusation: Math.min(1, report.falseAccusation * hypotheses) };
      if (report.verdict !== 'accuse' || correlation.score >= correlation.needed) return certain;
      const missing = Math.max(1, Math.ceil(correlation.count * ((correlation.needed / Math.max(0.1, correlation.score)) ** 2 - 1)));
      return { ...certain, verdict: 'more', segmentsNeeded: missing, segmentsRange: [missing, 2 * missing] };
    },
  };
};

const createPlainTracer = (header: ObservationHeader, keys: EpochKeys): Tracer => {
  const { alphabet, viewers, eps, offsets, book, delivery } = header;
  if (delivery !== undefined) return createDeliveredTracer(header, delivery, keys);
  switch (book.kind) {
    case 'adaptive':
      return createAdaptiveTracer({ book: createAdaptiveBook({ alphabet, shortest: book.shortest }), viewers, eps });
    case 'aligned':
      return createAlignedTracer({ book: createAlignedBook({ alphabet, schedule: book.schedule, keys }), viewers, eps, ...(offsets === undefined ? {} : { offsets }) });
    case 'biased':
      return createMixtureTracer({ book: createBiasedBook({ alphabet, schedule: book.schedule, bias: book.bias, keys }), viewers, eps });
  }
};

/** First look of a batch run; later ones come at one and a half times the length: evidence that has passed the bound must not be diluted later. */
const FIRST_LOOK = 16;

/** Feeds readings in order and stops at the first accusation; else the report over all of them. */
export const runTrace = (tracer: Tracer, readings: Iterable<Reading>, options: ReportOptions = {}): TraceReport => {
  let count = 0;
  let look = FIRST_LOOK;
  for (const reading of readings) {
    tracer.observe(reading);
    if (++count < look) continue;
    look = Math.ceil(look * 1.5);
    const report = tracer.report(options);
    if (report.verdict === 'accuse') return report;
  }
  return tracer.report(options);
};

/** Replays a saved observation. */
export const replay = ({ header, readings }: Observation, keys: EpochKeys, options: ReportOptions = {}): TraceReport =>
  runTrace(createTracer(header, keys), readings, options);

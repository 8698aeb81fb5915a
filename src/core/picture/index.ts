// SPDX-License-Identifier: Apache-2.0
/** Marks in pictures: what the packager adds to the luma of a variant, and the tracer looks for. */
export { CELLS, COEFFICIENTS, frequencies, HEIGHT, project, render, WIDTH } from './basis.ts';
export { AMPLITUDE, createPatterns, LARGEST_CHANGE, patternSize, pictureSecret, type Patterns } from './patterns.ts';

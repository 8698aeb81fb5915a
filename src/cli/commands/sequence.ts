// SPDX-License-Identifier: Apache-2.0
/**
 * `sealcast sequence unrank|rank|next|capacity --alphabet M`: the paper's sequences for scripts, NDJSON in and out.
 *
 * Words are base-36 digits, indices decimal strings, in the order of He, Maillé, Simon (NOSSDAV'17) with nothing
 * skipped: index 0 is the word `0`. docs/guide/sequences.md has the table of operations.
 * Invariant: one answer per input line, in order; a bad line answers `{"error":{"code","message"}}` and the rest goes on.
 */
import { once } from 'node:events';
import type { Writable } from 'node:stream';
import { defineCommand, type CommandDef } from 'citty';
import { isSealcastError, SealcastError } from '#core/errors.ts';
import { createSequences, formatWord, lengthForUsers, MAX_ALPHABET, MIN_ALPHABET, parseWord, requireAlphabet, windowForLength } from '#core/watermark/index.ts';
import { EXIT, type ExitCode, jsonArg, usageError } from '../command.ts';

/** The operations, as typed on the command line. */
export const OPERATIONS = ['unrank', 'rank', 'next', 'capacity'] as const;
/** One of OPERATIONS. */
export type SequenceOperation = (typeof OPERATIONS)[number];

/** Longest line read, in bytes; a longer one is answered as bad without being kept. */
export const MAX_LINE = 65_536;
/** No index up to length 64 over 8 symbols has more digits. */
const MAX_DIGITS = 64;

/** A line's answer; `failed` decides the exit code. */
export type Answer = { readonly text: string; readonly failed: boolean };

/** Answers one line (without its newline). Never throws for bad input. */
export type LineFunction = (line: string) => Answer;

const decimal = (value: unknown, name: string): bigint => {
  if (typeof value !== 'string' || value.length > MAX_DIGITS || !/^(0|[1-9][0-9]*)$/.test(value)) {
    throw new SealcastError('bad-request', `"${name}" must be a string of at most ${MAX_DIGITS} decimal digits without leading zeros; got ${describe(value)}`);
  }
  return BigInt(value);
};

const describe = (value: unknown): string =>
  value === null ? 'null' : Array.isArray(value) ? 'an array' : typeof value === 'string' ? `a string of ${value.length} characters` : typeof value === 'undefined' ? 'nothing' : `a ${typeof value}`;

const objectOf = (line: string): Readonly<Record<string, unknown>> => {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw new SealcastError('bad-request', `line must be one JSON object; got ${line.length} characters that are not JSON`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new SealcastError('bad-request', `line must be one JSON object; got ${describe(value)}`);
  return value as Record<string, unknown>;
};

/** The answer to a line that could not be served; the text of unknown faults stays inside. */
export const failure = (error: unknown): Answer => {
  const known = isSealcastError(error) ? error : new SealcastError('internal', 'unexpected fault');
  return { text: JSON.stringify({ error: { code: known.code, message: known.message } }), failed: true };
};

/**
 * The line function of one operation. Members other than the operation's own are ignored, so that the answers of
 * `unrank` can be piped into `rank` or `next`. Throws `bad-request` for an alphabet outside 2..8.
 */
export const createLineFunction = (operation: SequenceOperation, alphabet: number): LineFunction => {
  requireAlphabet(alphabet);
  const sequences = createSequences(alphabet);
  const wordOf = (value: unknown): Uint8Array => {
    if (typeof value !== 'string') throw new SealcastError('bad-request', `"word" must be a string of base-36 digits; got ${describe(value)}`);
    return parseWord(value, alphabet);
  };
  const answer: Record<SequenceOperation, (request: Readonly<Record<string, unknown>>) => object> = {
    unrank: (request) => {
      const index = decimal(request['index'], 'index');
      const word = sequences.unrank(index);
      return { index: String(index), length: word.length, word: formatWord(word) };
    },
    rank: (request) => {
      const index = sequences.rank(wordOf(request['word']));
      return { word: formatWord(sequences.unrank(index)), index: String(index) };
    },
    next: (request) => ({ next: formatWord(sequences.next(wordOf(request['word']))) }),
    capacity: (request) => {
      const users = decimal(request['users'], 'users');
      const length = lengthForUsers(alphabet, users);
      return { users: String(users), length, window: windowForLength(length) };
    },
  };
  return (line) => {
    try {
      return { text: JSON.stringify(answer[operation](objectOf(line))), failed: false };
    } catch (error) {
      return failure(error);
    }
  };
};

/** What stands between two newlines: its text, or why it cannot be read. */
export type InputLine = { readonly text: string } | { readonly refused: SealcastError };

/**
 * Splits bytes into lines, one batch per chunk read, holding at most MAX_LINE bytes (and a chunk) of an unfinished one.
 * A missing last newline is forgiven.
 */
export async function* linesOf(input: AsyncIterable<Uint8Array>): AsyncGenerator<InputLine[]> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let pending: Uint8Array[] = [];
  let size = 0;
  const take = (): InputLine => {
    const bytes = pending.length === 1 ? (pending[0] as Uint8Array) : Buffer.concat(pending);
    const tooLong = size > MAX_LINE;
    pending = [];
    size = 0;
    if (tooLong) return { refused: new SealcastError('payload-too-large', `line must have at most ${MAX_LINE} bytes`) };
    try {
      const text = decoder.decode(bytes);
      return { text: text.endsWith('\r') ? text.slice(0, -1) : text };
    } catch {
      return { refused: new SealcastError('bad-request', 'line must be UTF-8') };
    }
  };
  for await (const chunk of input) {
    const lines: InputLine[] = [];
    for (let start = 0; start < chunk.length; ) {
      const newline = chunk.indexOf(10, start);
      const end = newline < 0 ? chunk.length : newline;
      // Beyond the bound only the length is counted.
      if (size <= MAX_LINE) pending.push(chunk.subarray(start, end));
      size += end - start;
      if (newline < 0) break;
      lines.push(take());
      start = newline + 1;
    }
    if (lines.length > 0) yield lines;
  }
  if (size > 0) yield [take()];
}

/**
 * Answers every line of `input` on `output`, respecting its backpressure; a chunk's answers leave before the next chunk
 * is read, so an interactive caller never waits. Resolves to the number of bad lines.
 */
export const answerLines = async (input: AsyncIterable<Uint8Array>, output: Writable, answer: LineFunction): Promise<number> => {
  let failures = 0;
  for await (const lines of linesOf(input)) {
    let block = '';
    for (const line of lines) {
      const result = 'refused' in line ? failure(line.refused) : answer(line.text);
      if (result.failed) failures++;
      block += `${result.text}\n`;
    }
    if (!output.write(block)) await once(output, 'drain');
  }
  return failures;
};

const command: CommandDef<any> = defineCommand({
  meta: { name: 'sequence', description: 'watermark sequences: NDJSON on stdin, one answer per line on stdout' },
  args: {
    operation: { type: 'positional', required: true, description: `one of ${OPERATIONS.join(', ')}`, valueHint: OPERATIONS.join('|') },
    alphabet: { type: 'string', required: true, description: 'variants per segment, 2..8', valueHint: 'M' },
    ...jsonArg,
  },
  run: async ({ args }): Promise<ExitCode> => {
    const operation = OPERATIONS.find((name) => name === args.operation);
    if (operation === undefined) throw usageError(`no operation \`${args.operation}\`; one of: ${OPERATIONS.join(', ')}`);
    if (!/^[2-8]$/.test(args.alphabet)) throw usageError(`--alphabet must be an integer from ${MIN_ALPHABET} to ${MAX_ALPHABET}`);
    // The reader of our output may stop early (`| head`): that ends the command and is not a fault.
    process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? EXIT.done : EXIT.negative));
    const failures = await answerLines(process.stdin, process.stdout, createLineFunction(operation, Number(args.alphabet)));
    return failures > 0 ? EXIT.negative : EXIT.done;
  },
});
export default command;

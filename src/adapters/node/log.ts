// SPDX-License-Identifier: Apache-2.0
/**
 * The Log port: pino JSON lines on standard error, or compact coloured lines where a person is watching.
 *
 * Standard output stays free for results (`--json`).
 * Invariant: every message and field passes `redact.ts` before it is formatted.
 */
import { pino } from 'pino';
import type { Log } from '#ports';
import { redactFields, redactText } from './redact.ts';

/** From most to least talkative; `silent` writes nothing. */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

/** Options of `createLog`. */
export type LogOptions = {
  /** Least severe level written; default `info`. */
  readonly level?: LogLevel;
  /** `json`, `lines`, or `auto`: lines when standard error is a terminal (default). */
  readonly format?: 'auto' | 'json' | 'lines';
  /** Receives each finished line with its line break; default standard error. */
  readonly write?: (line: string) => void;
  /** Fields on every line, e.g. `{ edge: 'fra1' }`. */
  readonly fields?: Readonly<Record<string, unknown>>;
};

const STYLES: Readonly<Record<string, readonly [label: string, colour: string]>> = {
  debug: ['debug', '2'],
  info: ['info ', '36'],
  warn: ['warn ', '33'],
  error: ['error', '31'],
};

const brief = (value: unknown): string => {
  if (typeof value === 'string') return /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value);
  if (typeof value === 'object' && value !== null && 'message' in value && 'name' in value) return JSON.stringify(`${String(value.name)}: ${String(value.message)}`);
  return JSON.stringify(value) ?? 'undefined';
};

const linesLog = (write: (line: string) => void, least: LogLevel, colour: boolean, always: Readonly<Record<string, unknown>>): Log => {
  const order = ['debug', 'info', 'warn', 'error'];
  const from = least === 'silent' ? order.length : order.indexOf(least);
  const style = (code: string, text: string): string => (colour ? `\u001b[${code}m${text}\u001b[0m` : text);
  const line = (level: string) => (message: string, fields: Record<string, unknown> = {}): void => {
    if (order.indexOf(level) < from) return;
    const [label, code] = STYLES[level] ?? [level, '0'];
    const pairs = Object.entries(redactFields({ ...always, ...fields })).map(([name, value]) => ` ${style('2', `${name}=`)}${brief(value)}`);
    write(`${style('2', new Date().toISOString().slice(11, 23))} ${style(code, label)} ${redactText(message)}${pairs.join('')}\n`);
  };
  return { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') };
};

const jsonLog = (write: ((line: string) => void) | undefined, level: LogLevel, always: Readonly<Record<string, unknown>>): Log => {
  const settings = { level, base: redactFields(always), timestamp: pino.stdTimeFunctions.isoTime, messageKey: 'message', formatters: { level: (label: string) => ({ level: label }) } };
  // Synchronous: the last lines before an exit are the ones that matter.
  const logger = pino(settings, write === undefined ? pino.destination({ dest: 2, sync: true }) : { write });
  const line = (name: 'debug' | 'info' | 'warn' | 'error') => (message: string, fields: Record<string, unknown> = {}): void =>
    logger[name](redactFields(fields), redactText(message));
  return { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') };
};

/** A log for this process. Never throws on a field; fields with secrets come out as `[redacted]`. */
export const createLog = (options: LogOptions = {}): Log => {
  const { level = 'info', format = 'auto', write, fields = {} } = options;
  const asLines = format === 'lines' || (format === 'auto' && write === undefined && process.stderr.isTTY);
  if (!asLines) return jsonLog(write, level, fields);
  return linesLog(write ?? ((line) => void process.stderr.write(line)), level, write === undefined && process.env['NO_COLOR'] === undefined, fields);
};

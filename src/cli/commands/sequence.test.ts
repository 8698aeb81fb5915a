// SPDX-License-Identifier: Apache-2.0
/** `sealcast sequence`: the documented answers, one per line in order, through bad lines, long lines and slow readers. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { answerLines, createLineFunction, MAX_LINE, type SequenceOperation } from './sequence.ts';

const ask = (operation: SequenceOperation, alphabet: number, line: string): unknown => JSON.parse(createLineFunction(operation, alphabet)(line).text);

describe('lines', () => {
  it.each([
    ['unrank', 5, '{"index":"999999999"}', { index: '999999999', length: 15, word: '002212420412201' }],
    ['unrank', 5, '{"index":"0"}', { index: '0', length: 1, word: '0' }],
    ['unrank', 2, ' {"index" : "14", "note":1}\t', { index: '14', length: 6, word: '000001' }],
    ['rank', 5, '{"word":"412201002212420"}', { word: '002212420412201', index: '999999999' }],
    ['rank', 8, '{"word":"7"}', { word: '7', index: '7' }],
    ['next', 5, '{"word":"344444444444444"}', { next: '0000000000000001' }],
    ['next', 2, '{"word":"0"}', { next: '1' }],
    ['next', 2, '{"word":"1"}', { next: '01' }],
    ['next', 3, '{"word":"10"}', { next: '02' }],
    ['capacity', 5, '{"users":"1000000"}', { users: '1000000', length: 10, window: 18 }],
    ['capacity', 2, '{"users":"1"}', { users: '1', length: 1, window: 1 }],
  ] as const)('%s over %i: %s', (operation, alphabet, line, answer) => expect(ask(operation, alphabet, line)).toEqual(answer));
  it.each([
    ['unrank', ''],
    ['unrank', 'null'],
    ['unrank', '[]'],
    ['unrank', '{"index":1}'],
    ['unrank', '{"index":"-1"}'],
    ['unrank', '{"index":"01"}'],
    ['unrank', '{"index":"1e3"}'],
    ['unrank', '{"index":" 1"}'],
    ['unrank', `{"index":"${'9'.repeat(64)}"}`],
    ['unrank', `{"index":"${'9'.repeat(5000)}"}`],
    ['rank', '{}'],
    ['rank', '{"word":""}'],
    ['rank', '{"word":"0101"}'],
    ['rank', '{"word":"05"}'],
    ['rank', '{"word":"A"}'],
    ['rank', `{"word":"${'01'.repeat(33)}"}`],
    ['next', `{"word":"3${'4'.repeat(63)}"}`],
    ['capacity', '{"users":"0"}'],
    ['capacity', `{"users":"${'9'.repeat(60)}"}`],
  ] as const)('%s refuses %.40s', (operation, line) => {
    const { text, failed } = createLineFunction(operation, 5)(line);
    expect(failed).toBe(true);
    expect(JSON.parse(text)).toEqual({ error: { code: 'bad-request', message: expect.stringMatching(/.{10}/) } });
    expect(text.length).toBeLessThan(300);
  });
});

describe('streams', () => {
  const collect = async (chunks: readonly (string | Uint8Array)[], operation: SequenceOperation = 'unrank'): Promise<{ lines: unknown[]; failures: number }> => {
    let text = '';
    const sink = new Writable({
      highWaterMark: 10,
      write(chunk: Buffer, _, done) {
        text += chunk.toString();
        setImmediate(done);
      },
    });
    const failures = await answerLines(Readable.from(chunks.map((chunk) => Buffer.from(chunk as string))), sink, createLineFunction(operation, 5));
    sink.end();
    await once(sink, 'finish');
    expect(text === '' || text.endsWith('\n')).toBe(true);
    return { lines: text.split('\n').slice(0, -1).map((line) => JSON.parse(line) as unknown), failures };
  };
  it('answer every line in order, however they are cut into chunks', async () => {
    const input = Array.from({ length: 300 }, (_, i) => `{"index":"${i * 977}"}\n`).join('');
    const whole = await collect([input]);
    expect(whole.lines).toHaveLength(300);
    expect(whole.failures).toBe(0);
    for (const size of [1, 7, 100]) {
      const pieces = Array.from({ length: Math.ceil(input.length / size) }, (_, i) => input.slice(i * size, (i + 1) * size));
      expect((await collect(pieces)).lines).toEqual(whole.lines);
    }
  });
  it('go on after bad lines and count them', async () => {
    const { lines, failures } = await collect(['{"index":"0"}\r\nnope\n\n', Uint8Array.from([0xff, 0xfe, 10]), '{"index":"1"}']);
    expect(failures).toBe(3);
    expect(lines).toMatchObject([{ word: '0' }, { error: { code: 'bad-request' } }, { error: { code: 'bad-request' } }, { error: { code: 'bad-request' } }, { word: '1' }]);
  });
  it('refuse endless lines without keeping them', async () => {
    const block = 'x'.repeat(50_000);
    const { lines, failures } = await collect([...Array.from({ length: 40 }, () => block), '\n{"index":"2"}\n', `{"index":"3"${' '.repeat(MAX_LINE - 14)}}\n`]);
    expect(failures).toBe(1);
    expect(lines).toMatchObject([{ error: { code: 'payload-too-large' } }, { word: '2' }, { word: '3' }]);
  });
  it('hand the answers of one operation to the next', async () => {
    const words = await collect(['{"index":"123456789"}\n']);
    expect((await collect([`${JSON.stringify(words.lines[0])}\n`], 'rank')).lines).toMatchObject([{ index: '123456789' }]);
  });
  it('answer nothing for nothing', async () => expect(await collect([])).toEqual({ lines: [], failures: 0 }));
});

describe('the command', () => {
  const main = fileURLToPath(new URL('../main.ts', import.meta.url));
  const run = async (args: readonly string[], input: string): Promise<{ code: number | null; out: string; err: string }> => {
    const child = spawn(process.execPath, [main, 'sequence', ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
    let out = '';
    let err = '';
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
    child.stdin.end(input);
    const [code] = (await once(child, 'close')) as [number | null];
    return { code, out, err };
  };
  it('exits 0 when every line was answered', async () => {
    expect(await run(['unrank', '--alphabet', '5'], '{"index":"999999999"}\n')).toMatchObject({ code: 0, out: '{"index":"999999999","length":15,"word":"002212420412201"}\n', err: '' });
  });
  it('exits 1 when a line was bad, after answering the others', async () => {
    const { code, out } = await run(['capacity', '--alphabet=5'], 'x\n{"users":"1000000"}\n');
    expect(code).toBe(1);
    expect(out.split('\n')[1]).toBe('{"users":"1000000","length":10,"window":18}');
  });
  it.each([[['unrank', '--alphabet', '9']], [['unrank', '--alphabet', '5.0']], [['unrank']], [['shuffle', '--alphabet', '5']]])('exits 2 for %j', async (args) => {
    const { code, out, err } = await run(args, '');
    expect(code).toBe(2);
    expect(out).toBe('');
    expect(err).not.toBe('');
  });
  it('ends quietly when its reader stops early', async () => {
    const child = spawn(process.execPath, [main, 'sequence', 'unrank', '--alphabet', '5'], { stdio: ['pipe', 'pipe', 'inherit'] });
    child.stdin.on('error', () => undefined);
    child.stdout.once('data', () => child.stdout.destroy());
    const input = Array.from({ length: 200_000 }, (_, i) => `{"index":"${i}"}\n`).join('');
    child.stdin.end(input);
    const [code] = (await once(child, 'close')) as [number | null];
    expect(code).toBe(0);
  });
});

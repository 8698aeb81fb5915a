// SPDX-License-Identifier: Apache-2.0
/**
 * Variants made of marks inside the bitstream, for networks that only switch files: packed without a second encode, of one
 * size, read back by the tracer as the variants they are.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { findTool } from '#adapters/ffmpeg/index.ts';
import { concatBytes } from '#core/bytes/concat.ts';
import { variantCode } from '#core/mark/index.ts';
import { parseObservation } from '#core/trace/index.ts';
import { hmacSha256 } from '#crypto/hmac.ts';
import { foldVariants } from '#tracer/fold-variants.ts';
import { ffmpeg } from './clips.ts';

vi.setConfig({ testTimeout: 120_000 });

const BIN = fileURLToPath(new URL('../../bin/sealcast.js', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'sealcast-marked-variants-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const sealcast = (...args: readonly string[]): { readonly status: number | null; readonly stdout: string; readonly stderr: string } =>
  spawnSync(process.execPath, [BIN, ...args], { cwd: folder, encoding: 'utf8', maxBuffer: 2 ** 26 });

describe('variants made of marks inside the bitstream', () => {
  it('B201 are of one size, decode strictly, and are read back as what they are', () => {
    ffmpeg(['-v', 'error', '-f', 'lavfi', '-i', 'testsrc2=s=640x360:r=25', '-t', '6', '-c:v', 'libx264', '-crf', '20', '-g', '50', '-sc_threshold', '0', '-pix_fmt', 'yuv420p', join(folder, 'film.mp4')]);
    const packed = sealcast('pack', 'film.mp4', '-o', 'out', '--variants', '3', '--embed', 'bitstream', '--scheme', 'none', '--segment', '2', '--data', 'data', '--json');
    expect(packed.status, packed.stderr).toBe(0);
    const report = JSON.parse(packed.stdout) as { tracks: { id: string; segments: number; variants?: number; copied: boolean }[]; marks: { sites: number; rendition: string }[] };
    expect(report.tracks).toEqual([expect.objectContaining({ id: 'v360', segments: 3, variants: 3, copied: true })]);
    expect(report.marks[0]?.sites).toBeGreaterThan(100);
    const at = (variant: string, number: number): string => join(folder, 'out', 'v360', variant, `${number}.m4s`);
    for (let number = 0; number < 3; number++) {
      expect(new Set(['a', 'b', 'c'].map((variant) => statSync(at(variant, number)).size)).size).toBe(1);
      expect(Buffer.compare(readFileSync(at('a', number)), readFileSync(at('b', number)))).not.toBe(0);
    }
    // A copy that takes variants 1, 2, 0 in turn, coded again at half the rate by the pirate.
    writeFileSync(join(folder, 'copy.mp4'), concatBytes(readFileSync(join(folder, 'out', 'v360', 'init.mp4')), ...['b', 'c', 'a'].map((variant, number) => new Uint8Array(readFileSync(at(variant, number))))));
    const strict = spawnSync(findTool('ffmpeg'), ['-nostdin', '-v', 'warning', '-err_detect', 'explode', '-xerror', '-i', join(folder, 'copy.mp4'), '-f', 'null', '-']);
    expect([strict.status, strict.stderr.toString()]).toEqual([0, '']);
    ffmpeg(['-v', 'error', '-i', join(folder, 'copy.mp4'), '-c:v', 'libx264', '-preset', 'veryfast', '-crf', '27', join(folder, 'leak.mp4')]);
    const detected = sealcast('detect', 'leak.mp4', '--title', 'film', '--data', 'data', '-o', 'leak.ndjson', '--json');
    expect(detected.stderr).not.toMatch(/unexpected/);
    const { header, readings } = parseObservation(readFileSync(join(folder, 'leak.ndjson'), 'utf8'));
    expect([header.alphabet, header.slots]).toEqual([3, 1]);
    const best = readings.map(({ position, likelihoods = [] }) => [position, likelihoods.indexOf(Math.max(...likelihoods))]);
    expect(best).toEqual([[0, 1], [1, 2], [2, 0]]);
  });
  it('are written per viewer by `mark`, and wrong options are told', () => {
    const marked = sealcast('mark', 'out', '--viewer', '33', '--title', 'film', '-o', 'viewer.mp4', '--data', 'data', '--json');
    expect([marked.status, JSON.parse(marked.stdout)]).toEqual([0, { ok: true, title: 'film', viewer: 33, rendition: 'v360', segments: 3, protected: false }]);
    expect(sealcast('pack', 'film.mp4', '-o', 'x', '--embed', 'bitstream').status).toBe(2);
    expect(sealcast('pack', 'film.mp4', '-o', 'x', '--variants', '2', '--embed', 'ink').status).toBe(2);
    expect(sealcast('pack', 'film.mp4', '-o', 'x', '--variants', '2', '--mark').status).toBe(2);
  });
});

describe('a folder marked inside its bitstream', () => {
  it('is written per viewer, and two viewers differ', () => {
    const packed = sealcast('pack', 'film.mp4', '-o', 'one', '--mark', '--segment', '2', '--data', 'data', '--json');
    expect(packed.status, packed.stderr).toBe(0);
    for (const viewer of ['16', '17']) expect(sealcast('mark', 'one', '--viewer', viewer, '-o', `${viewer}.mp4`, '--data', 'data').status).toBe(0);
    expect(Buffer.compare(readFileSync(join(folder, '16.mp4')), readFileSync(join(folder, '17.mp4')))).not.toBe(0);
    expect(statSync(join(folder, '16.mp4')).size).toBe(statSync(join(folder, '17.mp4')).size);
  });
  it('altered after packing, of another title, or without reference, is refused and leaves no file', () => {
    const path = join(folder, 'one', 'v360', '1.m4s');
    const good = readFileSync(path);
    const bad = Buffer.from(good);
    bad[bad.length - 9] = (bad[bad.length - 9] as number) ^ 1;
    writeFileSync(path, bad);
    const altered = sealcast('mark', 'one', '--viewer', '16', '-o', 'altered.mp4', '--data', 'data');
    writeFileSync(path, good);
    expect([altered.status === 0, /mark box|chunk/.test(altered.stderr)]).toEqual([false, true]);
    const other = sealcast('mark', 'one', '--viewer', '16', '--title', 'nobody', '-o', 'altered.mp4', '--data', 'data');
    expect([other.status, other.stderr]).toEqual([1, expect.stringContaining('no tracing reference')]);
    expect(() => statSync(join(folder, 'altered.mp4'))).toThrow();
  });
});

describe('folding slots into variants', () => {
  const secret = new Uint8Array(32).fill(4);
  const code = (segment: number): readonly Uint8Array[] => variantCode({ hmac: hmacSha256, secret, segment, slots: 16, alphabet: 5 });
  const reading = (segment: number, slot: number, symbol: number, sure: number): { position: number; likelihoods: number[] } => ({ position: segment * 16 + slot, likelihoods: symbol === 0 ? [sure, 1 - sure] : [1 - sure, sure] });
  it('variants differ in half of the slots, and in others for each segment', () => {
    const variants = code(7);
    for (let a = 0; a < 5; a++) for (let b = 0; b < a; b++) expect([...(variants[a] as Uint8Array)].filter((bit, k) => bit !== variants[b]?.[k]).length).toBe(8);
    expect(code(8)[0]).not.toEqual(variants[0]);
  });
  it('finds the variant among weak slots, some of them missing', () => {
    const variants = code(7);
    const readings = Array.from({ length: 12 }, (_, slot) => reading(7, slot, variants[3]?.[slot] as number, 0.7));
    const [folded] = foldVariants(readings as never, { slots: 16, alphabet: 5, code });
    expect(folded?.position).toBe(7);
    expect(folded?.likelihoods?.indexOf(Math.max(...(folded.likelihoods ?? [])))).toBe(3);
    expect((folded?.likelihoods ?? []).reduce((sum, value) => sum + value, 0)).toBeCloseTo(1, 6);
  });
  it('says nothing of what was not seen', () => {
    expect(foldVariants([{ position: 16 as never, erased: 'lost' }], { slots: 16, alphabet: 5, code })).toEqual([{ position: 1, erased: 'lost' }]);
  });
});

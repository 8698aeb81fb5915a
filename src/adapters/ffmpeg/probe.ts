// SPDX-License-Identifier: Apache-2.0
/**
 * Reads what is in a media file, by ffprobe's JSON.
 *
 * Invariant: the answer holds only streams the packager can name (video, audio, text); cover art is not video.
 */
import { stat } from 'node:fs/promises';
import { SealcastError } from '#core/errors.ts';
import { microsFromSeconds } from '#core/time.ts';
import type { MediaProbe, ProbedStream } from '#ports';
import { findTool, localInput, run } from './process.ts';

const PROBE_TIMEOUT_MILLIS = 30_000;

type Row = Readonly<Record<string, unknown>>;
const text = (row: Row, name: string): string | undefined => (typeof row[name] === 'string' ? row[name] : undefined);
const count = (row: Row, name: string): number | undefined => {
  const value = Number(row[name]);
  return row[name] !== undefined && Number.isFinite(value) && value > 0 ? value : undefined;
};
const table = (row: Row, name: string): Row => (typeof row[name] === 'object' && row[name] !== null ? (row[name] as Row) : {});

/** ISO 639-2 as containers carry it, to the shorter BCP 47 form where one exists. */
const SHORT: Readonly<Record<string, string>> = {
  eng: 'en',
  ger: 'de',
  deu: 'de',
  fre: 'fr',
  fra: 'fr',
  spa: 'es',
  ita: 'it',
  por: 'pt',
  dut: 'nl',
  nld: 'nl',
  pol: 'pl',
  rus: 'ru',
  jpn: 'ja',
  chi: 'zh',
  zho: 'zh',
  kor: 'ko',
  ara: 'ar',
  tur: 'tr',
  swe: 'sv',
  dan: 'da',
  nor: 'no',
  fin: 'fi',
  ces: 'cs',
  cze: 'cs',
  hun: 'hu',
  ell: 'el',
  gre: 'el',
  heb: 'he',
  hin: 'hi',
  ukr: 'uk',
};
const language = (tag: string | undefined): string => {
  const lower = (tag ?? 'und').toLowerCase();
  return SHORT[lower] ?? (/^[a-z]{2,3}(-[a-z0-9]{2,8})*$/.test(lower) ? lower : 'und');
};

const KINDS: Readonly<Record<string, ProbedStream['kind']>> = { video: 'video', audio: 'audio', subtitle: 'text' };

const streamOf = (row: Row): ProbedStream | undefined => {
  const kind = KINDS[text(row, 'codec_type') ?? ''];
  const disposition = table(row, 'disposition');
  if (kind === undefined || disposition['attached_pic'] === 1) return undefined;
  const tags = table(row, 'tags');
  const rate = /^(\d+)\/([1-9]\d*)$/.exec(text(row, 'avg_frame_rate') ?? '');
  const optional = {
    profile: text(row, 'profile'),
    pixelFormat: text(row, 'pix_fmt'),
    width: count(row, 'width'),
    height: count(row, 'height'),
    frameRate: rate === null || rate[1] === '0' ? undefined : { numerator: Number(rate[1]), denominator: Number(rate[2]) },
    sampleRate: count(row, 'sample_rate'),
    channels: count(row, 'channels'),
    bitRate: count(row, 'bit_rate'),
    title: text(tags, 'title'),
  };
  return {
    index: Number(row['index']),
    kind,
    codec: text(row, 'codec_name') ?? 'unknown',
    language: language(text(tags, 'language')),
    captions: disposition['hearing_impaired'] === 1,
    ...(Object.fromEntries(Object.entries(optional).filter(([, value]) => value !== undefined)) as Partial<ProbedStream>),
  };
};

/** Throws `media-truncated` for an empty file, `media-malformed` for one that is no media, `not-found` for none. */
export const probe = async (file: string): Promise<MediaProbe> => {
  const info = await stat(file).catch(() => undefined);
  if (info === undefined || !info.isFile()) throw new SealcastError('not-found', 'the input file does not exist or is not a regular file');
  if (info.size === 0) throw new SealcastError('media-truncated', 'the input file has zero length');
  const { child, done } = run(findTool('ffprobe'), ['-v', 'error', '-print_format', 'json', '-show_streams', '-show_format', ...localInput(file)], {
    timeoutMillis: PROBE_TIMEOUT_MILLIS,
  });
  let json = '';
  child.stdout?.setEncoding('utf8').on('data', (part: string) => {
    json += part;
  });
  await done;
  const answer = JSON.parse(json) as Row;
  const rows = Array.isArray(answer['streams']) ? (answer['streams'] as Row[]) : [];
  const seconds = count(table(answer, 'format'), 'duration');
  return { ...(seconds === undefined ? {} : { duration: microsFromSeconds(seconds) }), streams: rows.map(streamOf).filter((stream) => stream !== undefined) };
};

// SPDX-License-Identifier: Apache-2.0
/**
 * ffmpeg filter graphs of live sources: a generated, textured, sport-like scene with a UTC clock and frame counter drawn in,
 * and the stages that put any input on the UTC grid.
 *
 * The frame clock: `RTCTIME` is taken at the first frame and frames are counted from there, so every time stamp is Unix time and
 * whole frames lie on the grid of UTC; segment number = floor(UTC / 2 s) in every rendition and after every restart.
 * Invariant: time stamps become Unix time after the last overlay; before it, framesync would run the other inputs from 0 to now.
 */

import type { VariantMarks } from '#ports';

/** Frames per second of all live sources. */
export const FRAME_RATE = 25;
/** Two seconds of frames: the distance of key frames, which is the segment length. */
const KEY_FRAMES = 50;
const FONTS = ['/usr/share/fonts/truetype/dejavu/DejaVuSansMono-Bold.ttf', '/usr/share/fonts/dejavu/DejaVuSansMono-Bold.ttf', '/opt/homebrew/share/fonts/DejaVuSansMono-Bold.ttf'];
/** Where Debian, Fedora and Homebrew put DejaVu Sans Mono. */
export const fontCandidates: readonly string[] = FONTS;

/**
 * Starts on an even UTC second: `t` of `-force_key_frames` counts from the first frame (measured, ffmpeg 5.1), so only then do
 * the key frames lie on the segment grid. Costs up to two seconds at a start.
 */
const utcVideo = `setpts='if(isnan(PREV_OUTPTS),floor(RTCTIME*${FRAME_RATE}/1000000),PREV_OUTPTS+1)',select='if(isnan(prev_selected_t),not(mod(floor(t*${FRAME_RATE}+0.5),${KEY_FRAMES})),1)'`;
const utcAudio = `asetpts='if(isnan(PREV_OUTPTS),floor(RTCTIME*48000/1000000),PREV_OUTPTS+NB_SAMPLES)',asettb=1/48000`;

/** Clock `HH:MM:SS.mmm` and a six-digit frame counter, from the frame's own time stamp. */
const clock = (font: string): string =>
  `drawtext=fontfile=${font}:fontsize=44:fontcolor=white:box=1:boxcolor=black@0.6:boxborderw=10:x=40:y=40:` +
  String.raw`text='%{pts\:gmtime\:0\:%H\\\:%M\\\:%S}.%{eif\:floor(mod(t\,1)*1000+0.5)\:d\:3} %{eif\:mod(floor(t*25+0.5)\,1000000)\:d\:6}'`;

/** Six players and a ball, each on its own pair of sine paths. */
const MOVERS: readonly (readonly [input: string, x: string, y: string])[] = [
  ['r1', '640+420*sin(t*0.9)', '330+220*sin(t*1.3+1)'],
  ['r2', '600+500*sin(t*0.7+2)', '330+240*sin(t*1.1+3)'],
  ['r3', '620+380*sin(t*1.2+4)', '330+200*sin(t*0.8+5)'],
  ['b1', '640+460*sin(t*0.8+1)', '330+230*sin(t*1.2)'],
  ['b2', '620+520*sin(t*0.6+3)', '330+210*sin(t*1.0+2)'],
  ['b3', '600+400*sin(t*1.1+5)', '330+250*sin(t*0.9+4)'],
  ['ball', '640+560*sin(t*1.7)', '360+280*sin(t*2.3)'],
];

/** Texture, players and ball at 1280x720, or a `divided` part of that, ending in the label `[o7]`. */
const pitch = (divided: 1 | 2 = 1): string => {
  const px = (size: number): number => size / divided;
  const place = (expression: string): string => (divided === 1 ? expression : `(${expression})/${divided}`);
  const shirt = (colour: string, names: string): string =>
    `color=c=${colour}:s=${px(26)}x${px(56)}:r=${FRAME_RATE},noise=alls=50:allf=u,drawbox=w=${px(26)}:h=${px(14)}:c=0xe0b090:t=fill,format=yuva420p,trim=end_frame=1,split=3${names};`;
  return [
    `color=c=0x2f7d32:s=${px(2560)}x${px(800)}:r=${FRAME_RATE},format=yuv420p,`,
    `geq=lum='clip(lum(X,Y)+16*lt(mod(X+Y/3,${px(256)}),${px(128)})+18*(random(1)-0.5)+10*sin(X/${px(9)})*sin(Y/${px(7)})+150*max(lt(mod(X,${px(640)}),${px(6)}),lt(mod(Y,${px(398)}),${Math.ceil(px(5))})),16,235)':cb='cb(X,Y)+6*(random(2)-0.5)':cr='cr(X,Y)',`,
    `loop=loop=-1:size=1:start=0,setpts=N,settb=1/${FRAME_RATE},`,
    `crop=w=${px(1280)}:h=${px(720)}:x='${place('640+620*sin(t*0.31)')}':y='${place('40+38*sin(t*0.53)')}'[o0];`,
    shirt('0xd32f2f', '[r1][r2][r3]'),
    shirt('0x1565c0', '[b1][b2][b3]'),
    `color=c=white:s=${px(14)}x${px(14)}:r=${FRAME_RATE},format=yuva420p,trim=end_frame=1[ball];`,
    ...MOVERS.map(([input, x, y], index) => `[o${index}][${input}]overlay=x='${place(x)}':y='${place(y)}'[o${index + 1}];`),
  ].join('');
};

/** A beep on every second over noise, stereo. */
const tone = `aevalsrc='0.2*sin(2*PI*440*t)*lt(mod(t,1),0.1)+0.02*(random(0)-0.5)|0.2*sin(2*PI*440*t)*lt(mod(t,1),0.1)+0.02*(random(1)-0.5)':s=48000`;

/** The whole scene: outputs `[v1]` 720p, `[v2]` 360p, `[a]` sound. */
export const sceneGraph = (font: string): string =>
  `${pitch()}[o7]realtime=limit=10,${utcVideo},${clock(font)},split[v1][v2o];[v2o]scale=640:360:flags=bilinear[v2];` + `${tone},arealtime=limit=10,${utcAudio}[a]`;

/**
 * The scene at 360p in marked variants, outputs `[m0]`, `[m1]`, ...: input 0 is the marks. Frame 0 gets the time stamp `start`
 * (Unix seconds) after the last overlay.
 */
export const markedSceneGraph = (marks: Pick<VariantMarks, 'alphabet' | 'width' | 'height'>, start: number): string => {
  const variants = Array.from({ length: marks.alphabet }, (_, variant) => variant);
  return [
    `${pitch(2)}[o7]format=yuv420p,setsar=1,realtime=limit=10,split=${marks.alphabet}${variants.map((variant) => `[s${variant}]`).join('')}`,
    `[0:v]split=${marks.alphabet}${variants.map((variant) => `[k${variant}]`).join('')}`,
    ...variants.map((variant) => `[k${variant}]crop=${marks.width}:${marks.height}:0:${variant * marks.height},scale=640:360:flags=bicubic,setsar=1[p${variant}];[s${variant}][p${variant}]blend=all_mode=grainmerge:shortest=1,setpts=PTS+${start}/TB[m${variant}]`),
  ].join(';');
};

/** The scene at 360p without clock and sound, output `[v]`. */
export const smallSceneGraph = (): string => `${pitch(2)}[o7]format=yuv420p,setsar=1,realtime=limit=10,${utcVideo}[v]`;

/** The same scene for a clip that is looped: time stamps start at 0, and no clock is drawn that would be wrong later. */
export const clipGraph = (font: string): string =>
  `${pitch()}[o7]drawtext=fontfile=${font}:fontsize=44:fontcolor=white:box=1:boxcolor=black@0.6:boxborderw=10:x=40:y=40:text='bundled clip %{frame_num}',` +
  `split[v1][v2o];[v2o]scale=640:360:flags=bilinear[v2];${tone},aresample=48000[a]`;

/** Puts a file or contribution stream on the UTC grid. `fps` and `aresample` stand before the counters, or sound drifts. */
export const inputGraph = (has: { video: boolean; audio: boolean }): string =>
  [
    ...(has.video
      ? [
          `[0:v:0]fps=${FRAME_RATE},scale=1280:720:force_original_aspect_ratio=decrease,pad=1280:720:-1:-1,setsar=1,format=yuv420p,${utcVideo},split[v1][v2o];[v2o]scale=640:360[v2]`,
        ]
      : []),
    ...(has.audio ? [`[0:a:0]aresample=48000:async=1,aformat=channel_layouts=stereo,${utcAudio}[a]`] : []),
  ].join(';');

/** A source's tracks: label in the graph, name at ingest, coding. Key frames lie on even UTC seconds. */
export const videoCoding = (crf: number, maxRate: number, preset: 'veryfast' | 'ultrafast' = 'veryfast'): readonly string[] => [
  '-fps_mode',
  'passthrough',
  '-c:v',
  'libx264',
  '-preset',
  preset,
  '-tune',
  'zerolatency',
  '-bf',
  '0',
  '-sc_threshold',
  '0',
  '-g',
  '1000',
  '-force_key_frames',
  `expr:eq(mod(floor(t*${FRAME_RATE}+0.5),${KEY_FRAMES}),0)`,
  '-threads',
  '1',
  '-pix_fmt',
  'yuv420p',
  '-crf',
  String(crf),
  '-maxrate',
  String(maxRate),
  '-bufsize',
  String(maxRate),
];
/** AAC at 96 kbit/s, for all sources. */
export const audioCoding: readonly string[] = ['-c:a', 'aac', '-b:a', '96k'];

/** CMAF chunks of `chunkMicros` as they are made; `muxer` flags as measured, without edit lists or trailers. */
export const liveMuxing = (chunkMicros: number): readonly string[] => [
  '-f',
  'mp4',
  '-movflags',
  '+cmaf+empty_moov+default_base_moof+separate_moof+frag_keyframe+frag_discont+skip_trailer',
  '-frag_duration',
  String(chunkMicros),
  '-write_prft',
  'pts',
  '-avoid_negative_ts',
  'disabled',
  '-flush_packets',
  '1',
];

// SPDX-License-Identifier: Apache-2.0
/**
 * The watch page: choose what and with which player, watch, and see the protection at work.
 *
 * Invariant: the picture's place is never blank: it shows the picture, the step that is under way, or why there is none.
 */
import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import { hasCodecs } from '../../../src/player/codecs-player.ts';
import { type PlaybackSupport, checkPlaybackSupport } from '../../../src/player/context.ts';
import { Brand } from '../ui/brand.tsx';
import { Conflicts } from './conflicts.tsx';
import { type Programme, type Source, openSource } from './catalogue.ts';
import { InsecureContext, Message } from './message.tsx';
import { PLAYERS, type PlayerName } from './players.ts';
import { ReleaseCard } from './release-card.tsx';
import { InStepSwitch, RenewalCard, SessionCard } from './readouts.tsx';
import { Timeline } from './timeline.tsx';
import { NO_READING, type Reading, type ViewingState, startViewing } from './viewing.ts';

/** How often the demo's list is asked for, and from which latency on a viewer is offered to jump ahead; ms, s. */
const REFRESH = 3000;
const LATE = 6;
/** Where a jump ahead lands behind the camera, s. */
const LIVE_DISTANCE = 2.5;

/** An event's first seconds: its manifest may come a moment after its media. */
const RETRIES = 5;
const RETRY_PAUSE = 3000;

type Opening = { readonly support: PlaybackSupport; readonly source: Source } | { readonly support: PlaybackSupport; readonly failure: string };

const open = async (): Promise<Opening> => {
  const support = await checkPlaybackSupport();
  if (!support.ok) return { support, failure: support.text };
  try {
    return { support, source: await openSource() };
  } catch (error) {
    return { support, failure: error instanceof Error && error.name !== 'TypeError' ? error.message : 'The service cannot be reached.' };
  }
};

/** The picture stands at the end of what is unlocked: players stop up to a frame or two before it. */
const standsSealed = (reading: Reading): boolean => reading.state === 'expired' || (reading.left <= 0.3 && reading.stalled);

const Standing = (props: { reading: Reading; blocked: boolean }) =>
  standsSealed(props.reading) ? (
    <Message title="The picture stopped: its keys are used up" tone="warn">
      <p>{props.blocked ? 'No renewal reached the server, so nothing after this frame can be decrypted. Allow renewals and it goes on.' : (props.reading.notice ?? 'Waiting for a renewal.')}</p>
    </Message>
  ) : null;

const Stage = (props: { video: { current: HTMLVideoElement | null }; canvas: { current: HTMLCanvasElement | null }; drawn: boolean; viewing: ViewingState; live: boolean; blocked: boolean; onAgain: () => void; onInstead: (terminationCode: string) => void }) => {
  const { viewing, live } = props;
  const catchUp = (latency: number): void => {
    // All three players run the element at one second per second, whatever their origin is.
    if (props.video.current !== null) props.video.current.currentTime += latency - LIVE_DISTANCE;
  };
  return (
    <div class={`stage ${viewing.phase}`}>
      <video ref={props.video} controls playsInline aria-label="Protected video" />
      <canvas ref={props.canvas} hidden={!props.drawn} aria-label="Protected picture" />
      {viewing.phase === 'watching' && live && viewing.reading.frames > 0 && !standsSealed(viewing.reading) ? (
        <div class="overlay">
          <span class="live">Live</span>
          {viewing.reading.latency !== undefined && viewing.reading.latency > LATE && viewing.reading.inStep === undefined && !viewing.reading.stalled ? <button class="button small" type="button" onClick={() => catchUp(viewing.reading.latency ?? 0)}>Jump to live</button> : null}
          {viewing.reading.inStep?.playout.state === 'elsewhere' ? <button class="button small" type="button" onClick={viewing.reading.inStep.rejoin}>Jump to live</button> : null}
          {viewing.reading.latency === undefined ? null : <span class="latency">{Math.max(0, viewing.reading.latency).toFixed(2)} s behind the camera</span>}
        </div>
      ) : null}
      {viewing.phase === 'starting' ? <div class="message quiet" role="status"><span class="spinner" aria-hidden="true" /><p>{viewing.step}…</p></div> : null}
      {viewing.phase === 'watching' && viewing.reading.frames === 0 ? <div class="message quiet" role="status"><span class="spinner" aria-hidden="true" /><p>Waiting for the first picture…</p></div> : null}
      {viewing.phase === 'watching' ? <Standing reading={viewing.reading} blocked={props.blocked} /> : null}
      {viewing.phase === 'over' ? (
        <Message title={viewing.title} tone="bad" code={viewing.code}>
          <p>{viewing.text}</p>
          {viewing.conflicts === undefined || viewing.conflicts.length === 0 ? null : <Conflicts sessions={viewing.conflicts} onInstead={props.onInstead} />}
          <button class={viewing.conflicts === undefined ? 'button primary' : 'button'} type="button" onClick={props.onAgain}>Try again</button>
        </Message>
      ) : null}
    </div>
  );
};

/** What there is to watch; in the demo it changes while the page is open. */
const useProgrammes = (source: Exclude<Source, { from: 'nowhere' }>): readonly Programme[] => {
  const [programmes, setProgrammes] = useState(source.programmes);
  useEffect(() => {
    if (source.from !== 'demo') return undefined;
    const timer = setInterval(() => {
      if (document.hidden) return;
      // An unreachable service shows elsewhere; the list just stays as it was.
      source.refresh().then((next) => setProgrammes((known) => (JSON.stringify(known) === JSON.stringify(next) ? known : next)), () => undefined);
    }, REFRESH);
    return () => clearInterval(timer);
  }, [source]);
  return programmes;
};

const Room = (props: { source: Exclude<Source, { from: 'nowhere' }> }) => {
  const { source } = props;
  const video = useRef<HTMLVideoElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const blocked = useRef(false);
  const [isBlocked, setBlocked] = useState(false);
  const programmes = useProgrammes(source);
  const [wanted, setWanted] = useState<string | undefined>(undefined);
  // An event that has ended leaves the list, but not the page of somebody who watches it.
  const last = useRef<Programme | undefined>(undefined);
  const programme = programmes.find(({ asset }) => asset === (wanted ?? last.current?.asset)) ?? last.current ?? programmes[0];
  last.current = programme;
  const [chosen, setPlayer] = useState<PlayerName | undefined>(undefined);
  // A browser that decrypts by itself wants half a second of sound ahead; a timed event has less.
  const player = chosen ?? (programme?.timed === undefined ? 'shaka' : programme.timed === 'strict' && hasCodecs() ? 'codecs' : 'decrypting');
  const [keepInStep, setKeepInStep] = useState(false);
  const [round, setRound] = useState(0);
  const [viewing, setViewing] = useState<ViewingState>({ phase: 'starting', step: 'Preparing' });
  const begun = programme?.state !== 'created';
  const ending = useRef<readonly string[]>([]);
  const retries = useRef(0);
  const previous = useRef<Promise<void>>(Promise.resolve());

  const block = useCallback((wanted: boolean): void => {
    blocked.current = wanted;
    setBlocked(wanted);
  }, []);

  const instead = useCallback((terminationCode: string): void => {
    ending.current = [terminationCode];
    setRound((count) => count + 1);
  }, []);

  useEffect(() => {
    const element = video.current;
    const drawing = canvas.current;
    if (element === null || drawing === null || programme === undefined) return undefined;
    let stop: (() => Promise<void>) | undefined;
    let left = false;
    setViewing({ phase: 'starting', step: begun ? 'Preparing' : 'The event has not started yet' });
    if (!begun) return undefined;
    // The element is shared: the next player starts when the last one has let go of it.
    void previous.current.then(() => {
      if (left) return;
      // One start only: the next one is a wish of its own.
      const end = ending.current;
      ending.current = [];
      stop = startViewing({ video: element, canvas: drawing, programme, player, keepInStep, entitlement: () => source.entitlement(programme.asset), end, blocked: () => blocked.current, onState: setViewing });
    });
    const leave = (): void => {
      left = true;
      previous.current = previous.current.then(() => stop?.()).catch(() => undefined);
    };
    addEventListener('pagehide', leave);
    return () => {
      removeEventListener('pagehide', leave);
      leave();
    };
  }, [source, programme?.asset, begun, player, keepInStep, round]);

  const live = programme?.kind === 'event';
  useEffect(() => {
    if (viewing.phase === 'watching') retries.current = 0;
    if (viewing.phase !== 'over' || viewing.code !== 'player' || !live || source.from !== 'demo' || retries.current >= RETRIES) return undefined;
    const timer = setTimeout(() => {
      retries.current++;
      setRound((count) => count + 1);
    }, RETRY_PAUSE);
    return () => clearTimeout(timer);
  }, [viewing.phase]);
  const reading = viewing.phase === 'watching' ? viewing.reading : NO_READING;
  if (programme === undefined) return <Message title="Nothing is on yet"><p>As soon as an event or a title is added, it appears here.</p></Message>;
  return (
    <>
      <div class="choices">
        <div class="tabs" role="group" aria-label="What to watch">
          {programmes.map((entry) => (
            <button key={entry.asset} type="button" aria-pressed={entry.asset === programme.asset} onClick={() => setWanted(entry.asset)}>
              {entry.kind === 'event' ? <i class="on-air" aria-hidden="true" /> : null}
              {entry.name}
              <span class="visually-hidden">{entry.kind === 'event' ? ' (live)' : ' (on demand)'}</span>
            </button>
          ))}
        </div>
        <div class="tabs players" role="group" aria-label="Player">
          {PLAYERS.map(({ name, label }) => <button key={name} type="button" aria-pressed={name === player} onClick={() => setPlayer(name)}>{label}</button>)}
        </div>
      </div>
      <div class="theatre">
        <div class="picture">
          <Stage video={video} canvas={canvas} drawn={player === 'codecs'} viewing={viewing} live={live} blocked={isBlocked} onAgain={() => setRound((count) => count + 1)} onInstead={instead} />
          <section class="card keys" aria-label="Keys">
            <header>
              <h2>Keys around the playhead</h2>
              <ul><li class="k-unlocked">Unlocked, one block per renewal</li><li class="k-sealed">Sealed</li><li class="k-buffered">Received</li></ul>
            </header>
            <Timeline reading={reading} live={live} />
          </section>
        </div>
        <aside class={viewing.phase === 'watching' ? '' : 'idle'}>
          <SessionCard reading={reading} phase={viewing.phase} live={live} account={source.from === 'demo' ? source.account : undefined} />
          {reading.inStep === undefined ? null : <ReleaseCard inStep={reading.inStep} />}
          {live && programme.timed === undefined ? <InStepSwitch on={keepInStep} onChange={setKeepInStep} /> : null}
          <RenewalCard reading={reading} running={viewing.phase === 'watching'} blocked={isBlocked} onBlock={block} />
        </aside>
      </div>
    </>
  );
};

export const App = () => {
  const [opening, setOpening] = useState<Opening | undefined>(undefined);
  const [round, setRound] = useState(0);
  useEffect(() => {
    setOpening(undefined);
    void open().then(setOpening);
  }, [round]);
  const body = (): preact.JSX.Element => {
    if (opening === undefined) return <div class="alone"><div class="message quiet" role="status"><span class="spinner" aria-hidden="true" /><p>Opening…</p></div></div>;
    const { support } = opening;
    if (!support.ok && support.reason === 'insecure-context') return <div class="alone"><InsecureContext address={support.address ?? ''} /></div>;
    if ('failure' in opening) {
      return <div class="alone"><Message title="This page cannot play yet" tone="bad"><p>{opening.failure}</p><button class="button" type="button" onClick={() => setRound((count) => count + 1)}>Try again</button></Message></div>;
    }
    if (opening.source.from === 'nowhere') return <div class="alone"><Message title="Please open this page from your provider’s link"><p>The link carries your right to watch. Without it there is nothing this page may play.</p></Message></div>;
    return <Room source={opening.source} />;
  };
  return (
    <>
      <header class="top"><Brand href="/" /><span class="muted small">Sealed until licensed, renewed while you watch</span></header>
      <main>{body()}</main>
    </>
  );
};

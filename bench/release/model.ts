// SPDX-License-Identifier: Apache-2.0
/**
 * Monte Carlo of one released period over a large audience: when the secret arrives, when the frame is shown, what a hacked client gains.
 *
 * Per client: an edge (its clock error, commit-wait), a place in its send loop, a path (base delay spread over the class, jitter, loss repaired after a part of the
 * retransmission timeout), a decoder. Invariant: a function of mix, size and seed alone.
 */

/** One kind of access network. Times in ms, shares and loss 0-1. */
export type AccessClass = { readonly name: string; readonly share: number; readonly oneWayMs: number; readonly jitterMs: number; readonly loss: number; readonly spread?: number };
/** What a simulation is about. `recorded`: arrivals counted by the steps of viewers' reports, in place of classes. */
export type Mix = {
  readonly classes: readonly AccessClass[];
  /** Standard deviation of the logarithm of the base delay inside a class that names none of its own. */
  readonly spread: number;
  /** Half the difference of both ways as a share of the one-way delay, uniform up to this: the error of a client's clock. */
  readonly asymmetry: number;
  readonly edges: { readonly clientsPerEdge: number; readonly sendMicros: number; readonly cores: number; readonly clockErrorMs: number; readonly clockBoundMs: number; readonly secondEdgeMs: number };
  readonly retransmission: { readonly leastMs: number; readonly from: number; readonly to: number; readonly twice: number };
  readonly decode: { readonly baseMs: number; readonly jitterMs: number; readonly vsyncMs: number };
  readonly recorded?: { readonly steps: readonly number[]; readonly counts: readonly number[] };
};

/** Counts in steps of a quarter of a millisecond, -200 to 3,800 ms. */
export type Histogram = { add(value: number): void; quantile(share: number): number; within(width: number): number; readonly count: number; below(value: number): number };
const STEP = 0.25;
const LOW = -200;
const SLOTS = 16_000;

export const createHistogram = (): Histogram => {
  const slots = new Uint32Array(SLOTS + 1);
  let count = 0;
  return {
    add(value) {
      const at = Math.min(SLOTS, Math.max(0, Math.floor((value - LOW) / STEP)));
      slots[at] = (slots[at] as number) + 1;
      count += 1;
    },
    quantile(share) {
      let left = Math.max(1, Math.ceil(share * count));
      for (let at = 0; at <= SLOTS; at++) {
        left -= slots[at] as number;
        if (left <= 0) return LOW + (at + 0.5) * STEP;
      }
      return LOW + SLOTS * STEP;
    },
    within(width) {
      const span = Math.round(width / STEP);
      let inside = 0;
      let best = 0;
      for (let at = 0; at <= SLOTS; at++) {
        inside += slots[at] as number;
        if (at >= span) inside -= slots[at - span] as number;
        best = Math.max(best, inside);
      }
      return best / count;
    },
    below(value) {
      let sum = 0;
      for (let at = 0; at <= SLOTS && LOW + (at + 1) * STEP <= value; at++) sum += slots[at] as number;
      return sum / count;
    },
    get count() {
      return count;
    },
  };
};

/** Uniform in (0, 1); xorshift128, so that a million clients take a second. */
const generator = (seed: number): (() => number) => {
  let [x, y, z, w] = [seed | 1, 362_436_069, 521_288_629, 88_675_123];
  const next = (): number => {
    const t = x ^ (x << 11);
    [x, y, z] = [y, z, w];
    w = (w ^ (w >>> 19) ^ t ^ (t >>> 8)) >>> 0;
    return (w + 0.5) / 4_294_967_296;
  };
  for (let i = 0; i < 64; i++) next();
  return next;
};

/** How a period reaches its viewers. */
export type Strategy =
  | { readonly kind: 'on-arrival' }
  /** Sent early to those who are far away, by the delay they claim, up to `cap` ms: aims at T + `aim`. */
  | { readonly kind: 'equalised'; readonly cap: number; readonly aim: number }
  | { readonly kind: 'hold'; readonly delta: number; readonly edges: 1 | 2 };

/** What a strategy gives. Times in ms after T. */
export type Outcome = {
  readonly display: Histogram;
  /** Share shown at its instant. */
  readonly onTime: number;
  /** Earliest instant at which a client that breaks every rule has the key. */
  readonly hacked: number;
};

/** Arrivals, one edge and the better of two, and the displays of each strategy, over the same clients. */
export type Simulation = { readonly one: Histogram; readonly two: Histogram; readonly outcomes: readonly Outcome[]; readonly loopMs: number };

/** Simulates `clients` clients once. */
export const simulate = (mix: Mix, clients: number, strategies: readonly Strategy[], seed = 1): Simulation => {
  const random = generator(seed);
  const gauss = (): number => Math.sqrt(-2 * Math.log(random())) * Math.cos(2 * Math.PI * random());
  const exponential = (mean: number): number => -mean * Math.log(random());
  const edgeCount = Math.max(2, Math.round(clients / mix.edges.clientsPerEdge));
  const loopMs = (mix.edges.clientsPerEdge * mix.edges.sendMicros) / mix.edges.cores / 1000;
  // Commit-wait: an edge releases when even the slowest correct clock says T, so late by bound minus its own error, and never early.
  const edges = Float64Array.from({ length: edgeCount }, () => mix.edges.clockBoundMs + Math.max(-mix.edges.clockBoundMs, Math.min(mix.edges.clockBoundMs, gauss() * mix.edges.clockErrorMs)));
  const shares = mix.classes.map(({ share }) => share);
  const total = shares.reduce((sum, share) => sum + share, 0);
  const one = createHistogram();
  const two = createHistogram();
  const displays = strategies.map(() => createHistogram());
  const late = strategies.map(() => 0);

  const classAt = (): AccessClass => {
    let left = random() * total;
    for (const each of mix.classes) if ((left -= each.share) < 0) return each;
    return mix.classes.at(-1) as AccessClass;
  };
  const recorded = mix.recorded;
  const recordedTotal = recorded?.counts.reduce((sum, count) => sum + count, 0) ?? 0;
  const fromRecords = (): number => {
    let left = random() * recordedTotal;
    for (const [step, count] of (recorded?.counts ?? []).entries()) {
      if ((left -= count) >= 0) continue;
      const low = step === 0 ? 0 : (recorded?.steps[step - 1] as number);
      return low + random() * ((recorded?.steps[step] ?? low * 2) - low);
    }
    return 0;
  };
  const delivery = (access: AccessClass, base: number): number => {
    let delay = base + exponential(access.jitterMs);
    if (random() < access.loss) {
      const { leastMs, from, to, twice } = mix.retransmission;
      const timeout = Math.max(leastMs, 2 * base + 4 * access.jitterMs);
      delay += timeout * (from + (to - from) * random());
      if (random() < twice) delay += 2 * timeout * (from + (to - from) * random());
    }
    return delay;
  };
  const send = (): number => (edges[Math.floor(random() * edgeCount)] as number) + random() * loopMs;

  for (let client = 0; client < clients; client++) {
    const access = classAt();
    const base = access.oneWayMs * Math.exp(gauss() * (access.spread ?? mix.spread));
    const first = recorded === undefined ? send() + delivery(access, base) : fromRecords();
    // The second edge is the one that is farther away.
    const second = recorded === undefined ? send() + delivery(access, base + mix.edges.secondEdgeMs) : first;
    const better = Math.min(first, second);
    one.add(first);
    two.add(better);
    const decode = mix.decode.baseMs + exponential(mix.decode.jitterMs) + random() * mix.decode.vsyncMs;
    const clockError = base * mix.asymmetry * (2 * random() - 1);
    const vsync = random() * mix.decode.vsyncMs;
    strategies.forEach((strategy, index) => {
      const display = displays[index] as Histogram;
      if (strategy.kind === 'on-arrival') return display.add(first + decode);
      if (strategy.kind === 'equalised') {
        // Only the honest median delay can be taken out; jitter, loss and what exceeds the cap stay.
        const shift = Math.min(strategy.cap, base + access.jitterMs * 0.7);
        return display.add(strategy.aim + first - shift + decode);
      }
      const arrived = (strategy.edges === 2 ? better : first) + decode;
      const due = strategy.delta + clockError;
      if (arrived > due + mix.decode.vsyncMs) late[index] = (late[index] as number) + 1;
      display.add(Math.max(due + vsync, arrived));
    });
  }
  const nearest = 1;
  const hackedAt = edges.reduce((least, edge) => Math.min(least, edge), Number.POSITIVE_INFINITY) + nearest;
  return {
    one,
    two,
    loopMs,
    outcomes: strategies.map((strategy, index) => ({
      display: displays[index] as Histogram,
      onTime: strategy.kind === 'hold' ? 1 - (late[index] as number) / clients : Number.NaN,
      hacked: strategy.kind === 'equalised' ? hackedAt + strategy.aim - strategy.cap : hackedAt,
    })),
  };
};

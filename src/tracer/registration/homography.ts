// SPDX-License-Identifier: Apache-2.0
/**
 * Plane-to-plane maps between two pictures, in unit coordinates: both axes run from -1 to 1 over the picture's edges.
 *
 * In these coordinates a plain change of size is the identity and all levels of an image pyramid share one map; pixel x of a
 * picture of width w has its centre at (2x + 1)/w - 1. Hartley and Zisserman, Multiple View Geometry, section 2.3.
 * Invariant: maps are nine numbers by rows with the last one 1; none is degenerate.
 */

/** Row-major 3 x 3, entry 8 is 1. Maps places of the reference to places of the suspect. */
export type Homography = readonly number[];
/** A place in unit coordinates. */
export type Place = readonly [across: number, down: number];

/** Leaves every place where it is: the suspect shows the whole picture, at whatever size. */
export const IDENTITY: Homography = [1, 0, 0, 0, 1, 0, 0, 0, 1];

/** Where a place goes. */
export const mapPlace = (map: Homography, [x, y]: Place): Place => {
  const [a = 1, b = 0, c = 0, d = 0, e = 1, f = 0, g = 0, h = 0] = map;
  const w = g * x + h * y + 1;
  return [(a * x + b * y + c) / w, (d * x + e * y + f) / w];
};

/** First `inner`, then `outer`. */
export const compose = (outer: Homography, inner: Homography): Homography => {
  const out = new Array<number>(9).fill(0);
  for (let row = 0; row < 3; row++) for (let column = 0; column < 3; column++) for (let k = 0; k < 3; k++) out[row * 3 + column] = (out[row * 3 + column] as number) + (outer[row * 3 + k] as number) * (inner[k * 3 + column] as number);
  return normalised(out);
};

/** The way back. */
export const invert = (map: Homography): Homography => {
  const [a = 1, b = 0, c = 0, d = 0, e = 1, f = 0, g = 0, h = 0, i = 1] = map;
  return normalised([e * i - f * h, c * h - b * i, b * f - c * e, f * g - d * i, a * i - c * g, c * d - a * f, d * h - e * g, b * g - a * h, a * e - b * d]);
};

const normalised = (values: readonly number[]): Homography => values.map((value) => value / (values[8] as number));

/** The map under which the suspect shows only the window around `centre` with half sizes `half`; mirrored if `flip`. */
export const windowMap = (centre: Place, half: Place, flip = false): Homography => {
  const sign = flip ? -1 : 1;
  return [sign / half[0], 0, (-sign * centre[0]) / half[0], 0, 1 / half[1], -centre[1] / half[1], 0, 0, 1];
};

const CORNERS: readonly Place[] = [[-1, -1], [1, -1], [1, 1], [-1, 1]];

/** Largest distance between two maps over the corners and the middle of a picture of width x height pixels, in its pixels. */
export const apart = (a: Homography, b: Homography, width: number, height: number): number =>
  Math.max(
    ...[...CORNERS, [0, 0] as const].map((corner) => {
      const [ax, ay] = mapPlace(a, corner);
      const [bx, by] = mapPlace(b, corner);
      return Math.hypot(((ax - bx) * width) / 2, ((ay - by) * height) / 2);
    }),
  );

/** What a map does, for people. Shares are of the reference picture. */
export type Geometry = {
  /** Size of the shown part: 1 x 1 is the whole picture; more than 1 where borders were added. */
  readonly shown: Place;
  /** Its centre, 0 x 0 is the middle. */
  readonly centre: Place;
  /** Degrees, clockwise. */
  readonly rotation: number;
  /** Departure from a parallelogram: largest distance of a corner, as a share of the width. */
  readonly perspective: number;
  readonly mirrored: boolean;
};

/** Describes a map from a reference of `aspect` = width / height to a suspect. */
export const geometryOf = (map: Homography, aspect: number): Geometry => {
  const back = invert(map);
  const corners = CORNERS.map((corner) => mapPlace(back, corner)) as [Place, Place, Place, Place];
  const [nw, ne, se, sw] = corners;
  const edge = (a: Place, b: Place): Place => [b[0] - a[0], (b[1] - a[1]) / aspect];
  const across = edge(nw, ne);
  const width = (Math.hypot(...across) + Math.hypot(...edge(sw, se))) / 4;
  const height = ((Math.hypot(...edge(nw, sw)) + Math.hypot(...edge(ne, se))) / 4) * aspect;
  const mirrored = across[0] < 0;
  const turned = (Math.atan2(mirrored ? -across[1] : across[1], Math.abs(across[0])) * 180) / Math.PI;
  const skew = edge([nw[0] + se[0], nw[1] + se[1]], [ne[0] + sw[0], ne[1] + sw[1]]);
  const mean = (axis: 0 | 1): number => (nw[axis] + ne[axis] + se[axis] + sw[axis]) / 4;
  return { shown: [width, height], centre: [mean(0), mean(1)], rotation: turned, perspective: Math.hypot(...skew) / 8, mirrored };
};

// SPDX-License-Identifier: Apache-2.0
/**
 * Responses whose body is one buffer in memory, without the copy and the stream that `new Response(bytes)` makes of it.
 *
 * Measured on Node 26 with 64 kB: 457 µs for `new Response(bytes)`, under 1 µs for this. Whoever reads or changes it through
 * the standard members gets standard behaviour, at the standard's price.
 * Invariant: the buffer is never written to, and what `rawAnswer` hands out equals what the standard members say.
 */
import type { ResponseFactory } from '#ports';

type Init = Parameters<ResponseFactory>[1];
type Body = ConstructorParameters<typeof Response>[0];

/** Members that speak about the body. */
const READ = ['body', 'bodyUsed', 'ok', 'redirected', 'statusText', 'type', 'url'] as const;
const CALLED = ['arrayBuffer', 'bytes', 'blob', 'formData', 'json', 'text', 'clone'] as const;

/** Its prototype inherits from Response's, so `instanceof Response` holds; the platform's constructor is never run. */
class BufferedResponse {
  readonly #buffer: Uint8Array;
  readonly #init: Init;
  #headers: Headers | undefined;
  #standard: Response | undefined;

  constructor(buffer: Uint8Array, init: Init) {
    this.#buffer = buffer;
    this.#init = init;
  }

  static is(response: object): response is BufferedResponse {
    return #buffer in response;
  }

  /** What to write as it is; undefined once somebody has used the standard members. */
  static raw(response: BufferedResponse): (Init & { readonly bytes: Uint8Array }) | undefined {
    if (response.#standard !== undefined) return undefined;
    const { status, headers, done } = response.#init;
    return { status, headers: response.#headers === undefined ? headers : [...response.#headers], bytes: response.#buffer, ...(done && { done }) };
  }

  get status(): number {
    return this.#init.status;
  }

  /** Routers add fields: that alone is no reason to make the real one. */
  get headers(): Headers {
    if (this.#standard !== undefined) return this.#standard.headers;
    this.#headers ??= new Headers(this.#init.headers);
    return this.#headers;
  }

  static #full(response: BufferedResponse): Response {
    response.#standard ??= new Response(response.#buffer as Body, { status: response.#init.status, headers: response.#headers ?? response.#init.headers });
    return response.#standard;
  }

  static {
    for (const name of READ) {
      Object.defineProperty(this.prototype, name, {
        get(this: BufferedResponse) {
          return BufferedResponse.#full(this)[name];
        },
      });
    }
    for (const name of CALLED) {
      Object.defineProperty(this.prototype, name, {
        value(this: BufferedResponse) {
          return BufferedResponse.#full(this)[name]();
        },
      });
    }
    Object.setPrototypeOf(this.prototype, Response.prototype);
  }
}

/** The `respond` option of roles that run behind `serve`. */
export const bufferedResponse: ResponseFactory = (body, init) =>
  body instanceof Uint8Array ? (new BufferedResponse(body, init) as unknown as Response) : new Response(body as Body, init);

/** The parts of an untouched `bufferedResponse`; undefined for any other response. */
export const rawAnswer = (response: Response): (Init & { readonly bytes: Uint8Array }) | undefined =>
  BufferedResponse.is(response) ? BufferedResponse.raw(response) : undefined;

// SPDX-License-Identifier: Apache-2.0
/**
 * Two pages (watch, control room) into `dist/`. Nothing is inlined: the pages' content security policy allows no inline script or style.
 */
import { resolve } from 'node:path';
import { defineConfig } from 'vite';

const here: string = import.meta.dirname;

export default defineConfig({
  root: here,
  base: '/',
  // Never the development runtime, whatever NODE_ENV says: it writes this machine's paths into the code.
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact', development: false } },
  build: {
    target: 'es2022',
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    // The players are chunks of their own, loaded when chosen; each is about a megabyte by nature.
    chunkSizeWarningLimit: 2000,
    rolldownOptions: { input: { watch: resolve(here, 'watch.html'), control: resolve(here, 'control.html') } },
  },
});

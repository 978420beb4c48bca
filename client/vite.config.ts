// The client's build: `client/` becomes `server/curta_server/ui/`, which the orchestrator serves under `/ui/`.
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { loadEnv } from 'vite';
import { defineConfig } from 'vitest/config';

const served = ['/expressions', '/plan', '/operations', '/agents', '/stats', '/tokens', '/session'];

export default defineConfig(({ mode }) => {
  // `npx vite` for development: everything but the client itself comes from an orchestrator that runs already.
  const orchestrator = loadEnv(mode, '.', 'CURTA_').CURTA_URL ?? 'http://127.0.0.1:8080';
  return {
    base: '/ui/',
    plugins: [svelte()],
    // Tests mount components as a browser would.
    resolve: mode === 'test' ? { conditions: ['browser'] } : {},
    build: {
      outDir: '../server/curta_server/ui',
      emptyOutDir: true,
      // The first that know light-dark(): older ones would get a rewritten sheet, twice as long.
      target: ['chrome123', 'edge123', 'firefox120', 'safari17.5'],
      // Files of their own always: the Content-Security-Policy allows nothing inline but images.
      assetsInlineLimit: 0,
      modulePreload: { polyfill: false },
      reportCompressedSize: true,
    },
    server: {
      host: '127.0.0.1',
      proxy: {
        ...Object.fromEntries(served.map((path) => [path, { target: orchestrator }])),
        '/live': { target: orchestrator, ws: true },
      },
    },
    test: {
      include: ['src/**/*.test.ts'],
      setupFiles: ['src/lib/i18n/setup.ts'],
      environment: 'node',
      // Dates and numbers read the same on every machine.
      env: { TZ: 'UTC' },
    },
  };
});

import { configDefaults, defineConfig } from 'vitest/config';
import { propertySeed } from './scripts/property-seed.mjs';

const seed = propertySeed();

// Packages are taken from their sources, so a test run needs no build. Tests that start processes use `dist`.
const conditions = ['lockd-source', 'module', 'node', 'development|production'];

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    include: ['test/**/*.test.ts', 'packages/*/test/**/*.test.ts', 'jepsen-style-tests/test/**/*.test.ts'],
    exclude: [...configDefaults.exclude, 'test/fixtures/**'],
    setupFiles: ['./test/setup/fast-check-seed.ts'],
    globalSetup: ['./test/setup/print-seed.ts'],
    env: { FC_SEED: String(seed) },
  },
});

import { configDefaults, defineConfig } from 'vitest/config';
import { propertySeed } from './scripts/property-seed.mjs';

// Packages are taken from their sources, so a test run needs no build. Tests that start processes use `dist`.
const conditions = ['lockd-source', 'module', 'node', 'development|production'];

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    globalSetup: ['./test/setup/print-seed.ts'],
    setupFiles: ['./test/setup/fast-check-seed.ts'],
    env: { FC_SEED: String(propertySeed()) },
    // Two shared cores: what takes longer than this hangs.
    testTimeout: 30_000,
    hookTimeout: 30_000,
    projects: [
      {
        extends: true,
        test: { name: 'repository', include: ['test/**/*.test.ts'] },
      },
      {
        extends: true,
        test: {
          name: 'packages',
          include: ['{packages/*,bench,jepsen-style-tests,examples/*}/test/**/*.test.ts'],
          exclude: [...configDefaults.exclude],
        },
      },
    ],
  },
});

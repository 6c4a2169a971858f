// Brings node_modules and pnpm-lock.yaml in line with the manifests after a change of dependencies:
// `npm run deps`, or with arguments for pnpm: `npm run deps -- add ws --filter lockd`.

import { pnpm } from './lib/run.mjs';
import { forgetInstall, install } from './lib/setup.mjs';

const args = process.argv.slice(2);
forgetInstall();
process.exitCode = (await pnpm(args.length > 0 ? args : ['install', '--no-frozen-lockfile'])) || (await install());

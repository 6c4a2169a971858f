// `npm start`: a three-node cluster on this machine. Arguments after `--` go to `lockd cluster`.
import { join } from 'node:path';
import { root } from './lib/root.mjs';
import { becomeNode } from './lib/run.mjs';
import { build, install } from './lib/setup.mjs';

const code = (await install()) || (await build());
if (code !== 0) process.exit(code);
const lockd = join(root, 'packages', 'lockd', 'bin', 'lockd.js');
becomeNode([lockd, 'cluster', '--data-dir', '.lockd', ...process.argv.slice(2)]);

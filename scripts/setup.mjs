// Installs and builds what changed. All commands of package.json begin with this.
import { build, install } from './lib/setup.mjs';

process.exitCode = (await install()) || (await build());

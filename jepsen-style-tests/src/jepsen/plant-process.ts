import { register } from 'node:module';
import { PLANTED_IN_NODES } from './planted-bugs.ts';

/** Loaded before a node's own program: puts the bug that the environment names into the modules that follow. */
const bug = PLANTED_IN_NODES.find(({ name }) => name === process.env['JEPSEN_PLANTED']);
if (bug === undefined) throw new Error('JEPSEN_PLANTED names no bug');
register(new URL('../sim/planted/loader-worker.js', import.meta.url), { data: { bug } });

import { plant } from './planted/plant.ts';

const [, , , planted] = process.argv;
if (planted !== undefined) plant(planted);
const { simulateRaft } = await import('./raft/simulation.ts');

process.on('message', (request: { readonly seed: number; readonly nodes?: number }) => {
  void simulateRaft(request).then((result) => process.send?.(result));
});
process.send?.('ready');

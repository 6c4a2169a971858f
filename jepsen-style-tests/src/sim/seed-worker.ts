import { plant } from './planted/plant.ts';
import type { SimulationRequest } from './simulation.ts';

const [, , , planted] = process.argv;
if (planted !== undefined) plant(planted);
const { simulateRaft } = await import('./raft/simulation.ts');

process.on('message', (request: SimulationRequest) => {
  void simulateRaft(request).then((result) => process.send?.(result));
});
process.send?.('ready');

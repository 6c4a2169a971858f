import { plant } from './planted/plant.ts';
import type { SimulationRequest } from './simulation.ts';

const [, , , planted] = process.argv;
if (planted !== undefined) plant(planted);
const { simulate } = await import('./worlds.ts');

process.on('message', (request: SimulationRequest) => {
  void simulate(request).then((result) => process.send?.(result));
});
process.send?.('ready');

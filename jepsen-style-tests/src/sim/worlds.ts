import { simulateRaft } from './raft/simulation.ts';
import { simulateService } from './service/simulation.ts';
import type { Simulate } from './simulation.ts';

/** One run in the world that is asked for. */
export const simulate: Simulate = (request, print) =>
  request.world === 'service' ? simulateService(request, print) : simulateRaft(request, print);

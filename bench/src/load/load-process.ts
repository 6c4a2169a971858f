/**
 * Entry point of the load generator: a process of its own, so that its CPU is counted apart from the bench's and the
 * servers'. Takes requests from the bench over Node's IPC, ends when the bench is gone.
 */
import { connectDriver } from '../drivers/connect.ts';
import type { LockDriver } from '../drivers/driver.ts';
import { runContended } from './contended.ts';
import { runCycles } from './cycles.ts';
import { GapWatch } from './gap-watch.ts';
import { Holding } from './holding.ts';
import type { LoadAnswer, LoadMessage, LoadRequest, RequestMessage } from './messages.ts';
import { RawSessions } from './raw-sessions.ts';
import type { Workload, WorkloadResult } from './workload.ts';

let driver: LockDriver | undefined;
let watch: GapWatch | undefined;
let holding: Holding | undefined;
let sessions: RawSessions | undefined;

function send(message: LoadMessage): void {
  process.send?.(message);
}

async function serve(request: LoadRequest): Promise<LoadAnswer> {
  switch (request.type) {
    case 'connect':
      driver = await connectDriver(request.spec, request.options);
      holding = new Holding(driver);
      return undefined;
    case 'run':
      return run(request.workload);
    case 'mark':
      watch?.mark();
      return undefined;
    case 'report':
      return watch?.report();
    case 'finish':
      await watch?.finish();
      watch = undefined;
      return undefined;
    case 'close':
      sessions?.close();
      await driver?.close();
      return undefined;
  }
}

async function run(workload: Workload): Promise<WorkloadResult | undefined> {
  const onPhase = (phase: 'measuring' | 'measured'): void => send({ type: 'phase', phase });
  if (workload.type === 'open-sessions') {
    sessions ??= new RawSessions();
    return sessions.open(workload);
  }
  if (workload.type === 'renew-sessions') {
    if (sessions === undefined) throw new Error('no sessions are open');
    return sessions.renew(workload, onPhase);
  }
  if (driver === undefined || holding === undefined) throw new Error('not connected');
  switch (workload.type) {
    case 'cycles':
      return runCycles(driver, workload, onPhase);
    case 'contended':
      return runContended(driver, workload, onPhase);
    case 'watch-gaps':
      watch = new GapWatch(driver, workload);
      return undefined;
    case 'hold':
      return holding.hold(workload);
    case 'release-all':
      return holding.releaseAll(workload.inFlight);
    case 'queue':
      return holding.queue(workload);
  }
}

process.on('message', ({ id, request }: RequestMessage) => {
  serve(request).then(
    (answer) => send({ type: 'answer', id, answer }),
    (error: unknown) =>
      send({ type: 'failed', id, message: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
  );
});
process.on('disconnect', () => process.exit(0));
// Faults are part of some workloads; what they break is counted where it is awaited.
process.on('unhandledRejection', () => undefined);

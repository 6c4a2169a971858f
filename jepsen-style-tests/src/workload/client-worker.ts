import { connect, LockdError, webSocketTransport } from '@lockd/client';
import { monotonicNs, realTime, sleep, wallMs } from '../clock.ts';
import { readJsonLines } from '../cluster/json-lines.ts';
import { Random } from '../random.ts';
import { LANES } from './lanes.ts';
import type { WorkerCommand, WorkerReport, WorkerSpec } from './messages.ts';
import { Recorder } from './recorder.ts';
import { StoreClient } from './store-client.ts';
import { TransportTap } from './transport-tap.ts';

/** One client process: one session, many lanes. Ends when told to, or with the harness. */
async function main(spec: WorkerSpec): Promise<void> {
  const report = (message: WorkerReport): void => void process.stdout.write(`${JSON.stringify(message)}\n`);
  const stopping = new AbortController();
  readJsonLines(process.stdin, (value) => {
    const command = value as WorkerCommand;
    if (command.type === 'stop') stopping.abort();
    else if (command.type === 'clock') report({ type: 'clock', wallMs: wallMs() });
    else if (command.type === 'block') {
      const startNs = monotonicNs();
      while (monotonicNs() - startNs < command.ms * 1e6);
      report({ type: 'blocked', ms: (monotonicNs() - startNs) / 1e6 });
    }
  });
  process.stdin.on('end', () => process.exit(0));

  const tap = new TransportTap(webSocketTransport({ codec: spec.codec }), spec.links, realTime);
  const endpoints = Random.split(spec.seed, `${spec.name} endpoints`).shuffle(spec.endpoints);
  const options = {
    endpoints,
    sessionTtl: spec.ttlMs,
    transport: tap,
    requestTimeout: 5000,
    metadata: { client: spec.name },
  };
  let client: Awaited<ReturnType<typeof connect>> | undefined;
  while (client === undefined) {
    try {
      client = await connect(options);
    } catch (error) {
      report({ type: 'error', code: error instanceof LockdError ? error.code : 'UNEXPECTED', message: String(error) });
      await sleep(100, stopping.signal);
      if (stopping.signal.aborted) return;
    }
  }
  const recorder = new Recorder(spec.name, client, tap, report, realTime);
  const store = new StoreClient(spec.storePort);
  report({ type: 'ready' });
  await Promise.all(
    spec.lanes.map(async (name, index) => {
      const random = Random.split(spec.seed, `${spec.name} ${name} ${index}`);
      try {
        await LANES[name]({
          client: spec.name,
          recorder,
          time: realTime,
          store,
          random,
          ttlMs: spec.ttlMs,
          report,
          stop: stopping.signal,
        });
      } catch (error) {
        report({
          type: 'violation',
          check: 'client',
          what: `lane ${name} of ${spec.name} ended: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
        });
      }
    }),
  );
  recorder.close();
  await client.close();
  store.close();
}

main(JSON.parse(process.argv[2] as string) as WorkerSpec).then(
  () => process.exit(0),
  (error: unknown) => {
    process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    process.exit(1);
  },
);

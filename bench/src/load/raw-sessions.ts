import { randomBytes } from 'node:crypto';
import { LIMITS, msgpackCodec, PROTOCOL_VERSION, type RawMessage } from '@lockd/client/protocol';
import { WebSocket } from 'ws';
import { Histogram } from '../measure/histogram.ts';
import { pause } from '../processes/children.ts';
import { ErrorCounts } from './errors.ts';
import { MeasuredTime, type PhaseListener } from './measured-time.ts';
import type { Workload, WorkloadResult } from './workload.ts';

/**
 * Many sessions over few connections, on the wire protocol itself: the SDK makes one session a client, and 100,000
 * clients would measure the SDK. Connects to the leader.
 */
export class RawSessions {
  readonly #connections: RawConnection[] = [];

  async open(workload: Extract<Workload, { type: 'open-sessions' }>): Promise<WorkloadResult> {
    const open = new Histogram();
    const errors = new ErrorCounts();
    const begun = performance.now();
    const endpoint = await findLeader(workload.endpoints);
    let opened = 0;
    let left = workload.count;
    const work = async (): Promise<void> => {
      while (left > 0) {
        const count = Math.min(left, LIMITS.maxSessionsPerConnection);
        left -= count;
        const connection = await RawConnection.connect(endpoint);
        const asked = performance.now();
        const failures = await connection.openSessions(count, workload.ttlMs);
        open.record((performance.now() - asked) * 1000);
        for (const failure of failures) errors.add(new Error(failure));
        opened += connection.sessions.length;
        this.#connections.push(connection);
      }
    };
    await Promise.all(Array.from({ length: 8 }, work));
    return {
      cycles: opened,
      seconds: (performance.now() - begun) / 1000,
      acquire: open.toData(),
      errors: errors.toRecord(),
    };
  }

  /** Every connection renews all its sessions in one frame, waits for all answers, and begins again. Latency is of a frame. */
  async renew(
    workload: Extract<Workload, { type: 'renew-sessions' }>,
    onPhase: PhaseListener,
  ): Promise<WorkloadResult> {
    const frames = new Histogram();
    const errors = new ErrorCounts();
    const time = new MeasuredTime();
    let renewals = 0;
    const work = async (connection: RawConnection): Promise<void> => {
      while (!time.isOver) {
        const begun = performance.now();
        try {
          const count = await connection.renewAll();
          if (time.isMeasuring) {
            renewals += count;
            frames.record((performance.now() - begun) * 1000);
          }
        } catch (error) {
          errors.add(error);
          return;
        }
      }
    };
    const workers = this.#connections.map(work);
    const seconds = await time.pass(workload, onPhase);
    await Promise.all(workers);
    return { cycles: renewals, seconds, acquire: frames.toData(), errors: errors.toRecord() };
  }

  close(): void {
    for (const connection of this.#connections) connection.close();
  }
}

class RawConnection {
  readonly sessions: number[] = [];
  readonly #socket: WebSocket;
  #onMessage: (message: RawMessage) => void = () => undefined;
  #fail: (error: Error) => void = () => undefined;
  #stamp = 0;

  static async connect(endpoint: string): Promise<RawConnection> {
    const socket = new WebSocket(endpoint, [msgpackCodec.subprotocol], { perMessageDeflate: false });
    await new Promise((resolve, reject) => {
      socket.once('open', resolve);
      socket.once('error', reject);
    });
    const connection = new RawConnection(socket);
    connection.welcome = await connection.#exchange<Welcome>(
      [['hello', { version: PROTOCOL_VERSION, client: 'lockd bench' }]],
      (message, done) => {
        if (message[0] === 'welcome') done(message[1] as Welcome);
      },
    );
    return connection;
  }

  welcome: Welcome = { index: 0, leader: null };

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.on('message', (data: Buffer) => {
      for (const message of msgpackCodec.decode(data)) this.#onMessage(message);
    });
    socket.on('close', () => this.#fail(new Error('connection closed')));
    socket.on('error', (error) => this.#fail(error));
  }

  /** Resolves to what was refused. */
  openSessions(count: number, ttlMs: number): Promise<readonly string[]> {
    const failures: string[] = [];
    const requests = Array.from({ length: count }, (_, index) => [
      'open',
      index + 1,
      randomBytes(16).toString('hex'),
      ttlMs,
      this.welcome.index,
      null,
    ]);
    let answers = 0;
    return this.#exchange(requests, (message, done) => {
      if (message[0] === 'opened') this.sessions.push(message[2] as number);
      else if (message[0] === 'error') failures.push(`${String(message[3])} ${String(message[4])}`);
      else return;
      if (++answers === count) done(failures);
    });
  }

  /** Resolves to the number of renewals acknowledged; rejects when a session has ended. */
  renewAll(): Promise<number> {
    const stamp = ++this.#stamp;
    let answers = 0;
    return this.#exchange(
      this.sessions.map((session) => ['renew', session, stamp]),
      (message, done) => {
        if (message[0] === 'session-ended') this.#fail(new Error('session ended'));
        if (message[0] === 'renewed' && message[2] === stamp && ++answers === this.sessions.length) done(answers);
      },
    );
  }

  close(): void {
    this.#fail = () => undefined;
    this.#socket.close();
  }

  #exchange<Result>(
    messages: readonly (readonly unknown[])[],
    take: (message: RawMessage, done: (result: Result) => void) => void,
  ): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.#fail = reject;
      this.#onMessage = (message) => take(message, resolve);
      this.#socket.send(msgpackCodec.encode(messages));
    });
  }
}

interface Welcome {
  readonly index: number;
  readonly leader: { readonly client: string | null } | null;
}

/** Asks each endpoint who leads, until one says so. */
async function findLeader(endpoints: readonly string[]): Promise<string> {
  for (let attempt = 0; attempt < 50; attempt++) {
    for (const endpoint of endpoints) {
      try {
        const connection = await RawConnection.connect(endpoint);
        const leader = connection.welcome.leader?.client ?? undefined;
        connection.close();
        if (leader !== undefined) return leader;
      } catch {
        // The next one may know.
      }
    }
    await pause(100);
  }
  throw new Error('no node says who leads');
}

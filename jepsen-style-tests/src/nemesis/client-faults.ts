import { monotonicNs, sleep, waitFor } from '../clock.ts';
import type { Random } from '../random.ts';
import type { Fault, FaultContext, FaultOutcome } from './fault.ts';

const freezeClient: Fault = {
  kind: 'freeze-client',
  track: 'client',
  what: 'SIGSTOP of a client process for longer than its session TTL',
  async run({ ttlMs, victims, signal }: FaultContext, random: Random) {
    const victim = random.pick(victims());
    const startNs = monotonicNs();
    const stopped = await victim.pause();
    await sleep(ttlMs + random.between(300, 2000), signal);
    victim.resume();
    const frozenMs = (monotonicNs() - startNs) / 1e6;
    return {
      target: victim.name,
      worked: stopped && frozenMs > ttlMs,
      evidence: `stopped for ${frozenMs.toFixed(0)} ms (TTL ${ttlMs} ms)`,
    };
  },
};

const blockClient: Fault = {
  kind: 'block-client',
  track: 'client',
  what: "a client's event loop is kept busy for longer than its session TTL",
  async run({ ttlMs, victims }: FaultContext, random: Random) {
    const victim = random.pick(victims());
    const blockedMs = await victim.block(ttlMs + random.between(100, 1200));
    return {
      target: victim.name,
      worked: (blockedMs ?? 0) > ttlMs,
      evidence: `event loop busy for ${blockedMs?.toFixed(0) ?? '?'} ms (TTL ${ttlMs} ms)`,
    };
  },
};

const killClient: Fault = {
  kind: 'kill-client',
  track: 'client',
  what: 'kill -9 of a client process; what it held must come free by itself',
  async run({ victims }: FaultContext, random: Random) {
    const victim = random.pick(victims());
    const { pid } = victim;
    await victim.killAndReplace();
    return { target: victim.name, worked: pid !== undefined, evidence: `process ${pid} gone with what it held` };
  },
};

/** Freezes a client between reading and writing what its lock protects, until somebody else has written. */
export async function freezeAtWork(
  {
    holderAtWork,
    writesByOthers,
    ttlMs,
    signal,
  }: Pick<FaultContext, 'holderAtWork' | 'writesByOthers' | 'ttlMs' | 'signal'>,
  random: Random,
): Promise<FaultOutcome> {
  for (let tries = 1; tries <= 8; tries++) {
    const victim = await holderAtWork(3000);
    if (victim === undefined) break;
    const before = writesByOthers(victim.name);
    const startNs = monotonicNs();
    const stopped = await victim.pause();
    const written = await waitFor(
      () => (writesByOthers(victim.name) > before ? true : undefined),
      ttlMs * 3 + 6000,
      20,
      signal,
    );
    const writtenAfterMs = (monotonicNs() - startNs) / 1e6;
    // Somebody else wrote long before the lease can have ended: it had just finished when it was stopped.
    const wasLate = written === true && writtenAfterMs < ttlMs / 3;
    if (!wasLate) await sleep(random.between(0, 300), signal);
    victim.resume();
    if (wasLate) continue;
    return {
      target: victim.name,
      worked: stopped && written === true,
      evidence: `stopped at work for ${((monotonicNs() - startNs) / 1e6).toFixed(0)} ms; ${written === true ? `another holder wrote after ${writtenAfterMs.toFixed(0)} ms` : 'nobody else got to write'}`,
    };
  }
  return { target: 'holder', worked: false, evidence: 'nobody could be caught at work' };
}

const freezeHolder: Fault = {
  kind: 'freeze-holder',
  track: 'client',
  what: 'SIGSTOP of a client between reading and writing what its lock protects, until somebody else has written',
  run: freezeAtWork,
};

export const CLIENT_FAULTS: readonly Fault[] = [freezeClient, blockClient, killClient, freezeHolder];

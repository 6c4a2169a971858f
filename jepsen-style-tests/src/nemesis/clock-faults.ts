import { monotonicNs, sleep, waitFor, wallMs } from '../clock.ts';
import type { Random } from '../random.ts';
import { type Fault, type FaultContext, type FaultOutcome, LEADER_WITHIN_MS } from './fault.ts';

/** By how much a reported time may be off for other reasons than the jump. */
const TOLERANCE_MS = 2000;

const noFakeTime = ({ hasFakeClocks }: FaultContext): string | undefined =>
  hasFakeClocks ? undefined : 'libfaketime is not installed (Debian: apt-get install faketime)';

/** From seconds to days, forth or back. */
function drawJumpMs(random: Random): number {
  const lengthMs = random.pick([5000, 60_000, 3_600_000, 3 * 86_400_000]) + random.between(0, 5000);
  return random.chance(0.5) ? lengthMs : -lengthMs;
}

function inSeconds(ms: number): string {
  const text = (ms / 1000).toFixed(1);
  return Number(text) === 0 ? 'the right time' : `${ms < 0 ? '' : '+'}${text} s`;
}

/** It worked where the process itself told of the jump, and of the way back. */
function outcomeOf(target: string, jumpMs: number, there: number | undefined, back: number | undefined): FaultOutcome {
  const isNear = (skewMs: number | undefined, wantedMs: number): boolean =>
    skewMs !== undefined && Math.abs(skewMs - wantedMs) < TOLERANCE_MS;
  const told = (skewMs: number | undefined): string => (skewMs === undefined ? 'nothing' : inSeconds(skewMs));
  return {
    target,
    worked: isNear(there, jumpMs) && isNear(back, 0),
    evidence: `set to ${inSeconds(jumpMs)}: it then told ${told(there)}, and ${told(back)} when set back`,
  };
}

const clockJump: Fault = {
  kind: 'clock-jump',
  track: 'server',
  what: "a node's wall clock jumps by seconds to days, and back; its monotonic clock does not",
  unavailable: noFakeTime,
  async run({ cluster, signal }: FaultContext, random: Random) {
    const leader = await cluster.waitForLeader(LEADER_WITHIN_MS);
    const target = leader !== undefined && random.chance(0.6) ? leader : random.pick(cluster.followers());
    const node = cluster.node(target);
    const clock = node.spec.clock;
    if (clock === undefined) return { target, worked: false, evidence: 'its clock is not in our hands' };
    const before = cluster.leader();
    const jumpMs = drawJumpMs(random);
    const skewSeen = async (offsetMs: number): Promise<number | undefined> => {
      const startNs = monotonicNs();
      clock.jumpTo(offsetMs);
      // It only tells the time when it has something to log: the end of a link is.
      cluster.network.cut(target, random.pick(cluster.names.filter((name) => name !== target)));
      return waitFor(
        () => {
          const told = node.reportedWall;
          return told !== undefined && told.atNs > startNs ? told.skewMs : undefined;
        },
        4000,
        20,
      );
    };
    const there = await skewSeen(jumpMs);
    await sleep(random.between(300, 1800), signal);
    const back = await skewSeen(0);
    const after = cluster.leader();
    const isSame = before?.name === after?.name && before?.term === after?.term;
    const change = isSame
      ? 'no change of leader'
      : `${after?.name ?? 'nobody'} leads after ${before?.name ?? 'nobody'}`;
    const outcome = outcomeOf(target, jumpMs, there, back);
    return { ...outcome, evidence: `${outcome.evidence}; ${change}` };
  },
};

const clientClockJump: Fault = {
  kind: 'client-clock-jump',
  track: 'client',
  what: "a client's wall clock jumps by seconds to days, and back: forth it may lose locks early, never late",
  unavailable: noFakeTime,
  async run({ victims, signal }: FaultContext, random: Random) {
    const victim = random.pick(victims());
    const jumpMs = drawJumpMs(random);
    const skewSeen = async (offsetMs: number): Promise<number | undefined> => {
      victim.clock?.jumpTo(offsetMs);
      const reported = await victim.reportedWallMs();
      return reported === undefined ? undefined : reported - wallMs();
    };
    const there = await skewSeen(jumpMs);
    await sleep(random.between(300, 1800), signal);
    const back = await skewSeen(0);
    return outcomeOf(victim.name, jumpMs, there, back);
  },
};

export const CLOCK_FAULTS: readonly Fault[] = [clockJump, clientClockJump];

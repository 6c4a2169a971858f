/** Replacing a member whose disk is lost, in the steps of `lockd member replace`, with a crash in each of them. */
import { describe, expect, test } from 'vitest';
import { nodeId } from '../../src/core/ids.ts';
import { isMember, membersOf } from '../../src/core/membership.ts';
import { Cluster } from './cluster.ts';
import { IDS, leaderOf, propose, type TestNode } from './harness.ts';

const LOST = nodeId('n3');
const STEP_MS = 1;
const REDIAL_MS = 50;
const DOWN_MS = 700;

type Victim = 'leader' | 'follower' | 'replacement' | 'everybody';

/** What an operator does who repeats each request until it stands. */
class Replacement {
  readonly cluster = new Cluster({}, { syncDelayMs: () => 1, delayMs: () => 1 });
  /** Everything that was ever applied anywhere, in order: acknowledged, or as good as that. */
  acknowledged: readonly string[] = [];
  /** Different situations that the procedure went through. */
  situations = 0;
  isDone = false;
  #isRemoved = false;
  #situation = '';
  #nextCommand = 0;
  #restarts: { readonly id: string; readonly atMs: number }[] = [];
  readonly #crashAt: number;
  readonly #victim: Victim;

  /** In the situation with this number, counted from 1, somebody loses power. 0: nobody ever. */
  constructor(crashAt: number, victim: Victim) {
    this.#crashAt = crashAt;
    this.#victim = victim;
  }

  async run(): Promise<void> {
    const { clock } = this.cluster;
    await this.cluster.startAll();
    await clock.advance(500);
    this.cluster.end(LOST, 'losePower');
    const untilMs = clock.nowMs() + 30_000;
    for (let turn = 0; (!this.isDone || this.#restarts.length > 0) && clock.nowMs() < untilMs; turn += 1) {
      await clock.advance(STEP_MS);
      if (turn % REDIAL_MS === 0) this.cluster.network.heal();
      await this.#restart();
      const leader = leaderOf(this.cluster.nodes);
      for (const { machine } of this.cluster.nodes)
        if (machine.texts.length > this.acknowledged.length) this.acknowledged = machine.texts;
      if (leader === undefined) continue;
      if (turn % 20 === 0) propose(leader, `command ${this.#nextCommand++}`);
      await this.#operate(leader);
      this.#look(leader);
    }
    // Everybody hears of the last entries.
    this.cluster.network.heal();
    await clock.advance(3000);
  }

  async #operate(leader: TestNode): Promise<void> {
    const { driver } = leader;
    const { configuration, lastIndex } = driver.status();
    const isThere = isMember(configuration, LOST);
    if (!this.#isRemoved) {
      if (isThere) driver.proposeConfiguration([{ type: 'remove', node: LOST }]);
      else if (driver.isConfigurationConfirmed()) {
        this.#isRemoved = true;
        this.cluster.emptyDisk(LOST);
        await this.#start(LOST);
      }
    } else if (!isThere) driver.proposeConfiguration([{ type: 'add-learner', node: LOST }]);
    else if (!configuration.voters.includes(LOST)) {
      const progress = driver.progressOf(LOST);
      const hasAll = progress?.state === 'replicate' && progress.matchIndex + 5 >= lastIndex;
      if (hasAll && driver.instanceOf(LOST) !== undefined)
        driver.proposeConfiguration([{ type: 'add-voter', node: LOST }]);
    } else this.isDone = driver.isConfigurationConfirmed() && driver.instanceOf(LOST) !== undefined;
  }

  /** Counts the situations, and lets one end in a crash. */
  #look(leader: TestNode): void {
    const { driver } = leader;
    const { configuration } = driver.status();
    const progress = driver.progressOf(LOST);
    const situation = JSON.stringify([
      membersOf(configuration),
      configuration.voters,
      driver.isConfigurationConfirmed(),
      driver.instanceOf(LOST),
      progress?.state,
      (progress?.matchIndex ?? 0) > 0,
      this.#isRemoved,
    ]);
    if (situation === this.#situation) return;
    this.#situation = situation;
    this.situations += 1;
    if (this.situations === this.#crashAt) for (const id of this.#victims(leader)) this.#crash(id);
  }

  #victims(leader: TestNode): readonly string[] {
    switch (this.#victim) {
      case 'leader':
        return [leader.id];
      case 'follower':
        return IDS.filter((id) => id !== leader.id && id !== LOST);
      case 'replacement':
        return this.#isRemoved ? [LOST] : [];
      case 'everybody':
        return this.cluster.nodes.map(({ id }) => id);
    }
  }

  #crash(id: string): void {
    this.cluster.end(id, 'losePower');
    this.#restarts.push({ id, atMs: this.cluster.clock.nowMs() + DOWN_MS });
  }

  async #restart(): Promise<void> {
    const nowMs = this.cluster.clock.nowMs();
    const due = this.#restarts.filter(({ atMs }) => atMs <= nowMs);
    this.#restarts = this.#restarts.filter(({ atMs }) => atMs > nowMs);
    for (const { id } of due) await this.#start(id);
  }

  async #start(id: string): Promise<void> {
    await this.cluster.start(id, id === LOST && this.#isRemoved ? { initialCluster: [], seeds: IDS } : {});
  }
}

describe('replacing a lost member', () => {
  for (const victim of ['leader', 'follower', 'replacement', 'everybody'] as const) {
    test(`comes to its end, and loses nothing, whichever step ${victim === 'everybody' ? 'all nodes lose' : `the ${victim} loses`} power in`, async () => {
      const calm = new Replacement(0, victim);
      await calm.run();
      expect(calm.isDone).toBe(true);
      // Removed, confirmed, added, registered, caught up, promoted, confirmed.
      expect(calm.situations).toBeGreaterThanOrEqual(7);
      for (let crashAt = 1; crashAt <= calm.situations; crashAt += 1) {
        const replacement = new Replacement(crashAt, victim);
        await replacement.run();
        const { nodes } = replacement.cluster;
        expect(replacement.isDone, `crash in situation ${crashAt}`).toBe(true);
        expect(nodes.map(({ driver }) => driver.condition())).toEqual(['serving', 'serving', 'serving']);
        for (const { machine, driver } of nodes) {
          expect(machine.texts.slice(0, replacement.acknowledged.length)).toEqual(replacement.acknowledged);
          expect(driver.status().configuration.voters).toEqual(IDS);
        }
      }
    }, 60_000);
  }
});

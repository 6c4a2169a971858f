import { monotonicNs, sleep, waitFor } from '../clock.ts';
import { askAdmin } from '../cluster/admin.ts';
import type { Cluster } from '../cluster/cluster.ts';
import { canTellDialers } from '../cluster/dialer.ts';
import type { Random } from '../random.ts';
import { type Fault, type FaultContext, type FaultOutcome, LEADER_WITHIN_MS, NOBODY_LEADS } from './fault.ts';

/** One change of the members, with whatever it waits for. */
const STEP_WITHIN_MS = 20_000;

/** Ends a fault half way; what it has changed is put back all the same. */
class StepFailed extends Error {
  override readonly name = 'StepFailed';
}

/** Changes members as an operator would, and looks at the voters' applied configurations for what came of it. */
class Membership {
  readonly #cluster: Cluster;
  readonly #startNs = monotonicNs();
  readonly steps: string[] = [];

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  async add(name: string): Promise<void> {
    await this.#ask('member-add', { name, peer: this.#cluster.peerDoor(name) });
    await this.#committed(`${name} added`, { [name]: 'learner' });
  }

  async promote(name: string): Promise<void> {
    await this.#ask('member-promote', { name });
    await this.#committed(`${name} promoted`, { [name]: 'voter' });
  }

  async remove(name: string): Promise<void> {
    await this.#ask('member-remove', { name });
    await this.#committed(`${name} removed`, { [name]: undefined });
  }

  async lead(name: string): Promise<void> {
    await this.#ask('transfer-leader', { name });
    await this.#until(`${name} leads`, () => this.#cluster.leader()?.name === name);
  }

  async role(name: string, role: string): Promise<void> {
    await this.#until(`${name} is ${role}`, () => this.#cluster.status(name)?.role === role);
  }

  /** Asks a node that is up until it is done: between two leaders, or while a learner catches up, it is refused for now. */
  async #ask(op: string, args: Readonly<Record<string, unknown>>): Promise<void> {
    let last = 'no answer';
    const done = await waitFor(
      async () => {
        const node = this.#cluster.leader()?.name ?? this.#cluster.followers()[0];
        if (node === undefined) return undefined;
        const answer = await askAdmin(this.#cluster.clientUrl(node), op, args);
        if (answer?.ok === true) return true;
        last = answer?.reason ?? 'no answer';
        // An earlier answer may have been lost, and the member be gone already.
        return last === 'unknown-member' && op === 'member-remove' ? true : undefined;
      },
      STEP_WITHIN_MS,
      50,
    );
    if (done !== true) throw new StepFailed(`${op} ${String(args['name'])}: ${last}`);
  }

  /** A majority of the founding members have applied a configuration in which these have these roles. */
  async #committed(what: string, roles: Readonly<Record<string, string | undefined>>): Promise<void> {
    const { names } = this.#cluster;
    await this.#until(what, () => {
      const agreeing = names.filter((name) => {
        const members = this.#cluster.status(name)?.members;
        return (
          members !== undefined &&
          Object.entries(roles).every(
            ([member, role]) => members.find((candidate) => candidate.name === member)?.role === role,
          )
        );
      });
      return agreeing.length * 2 > names.length;
    });
  }

  async #until(what: string, holds: () => boolean): Promise<void> {
    const held = await waitFor(() => (holds() ? true : undefined), STEP_WITHIN_MS, 20);
    if (held !== true) throw new StepFailed(`it never came that ${what}`);
    this.steps.push(`${what} after ${((monotonicNs() - this.#startNs) / 1e6).toFixed(0)} ms`);
  }
}

/** The founding members, each a voter, and nobody else. */
async function restore(cluster: Cluster): Promise<void> {
  const spare = cluster.spare.spec.name;
  const membership = new Membership(cluster);
  const rolesSeen = async (): Promise<ReadonlyMap<string, string>> => {
    const members = await waitFor(async () => {
      const leader = cluster.leader()?.name;
      if (leader === undefined) return undefined;
      const answer = await askAdmin(cluster.clientUrl(leader), 'member-list');
      return answer?.ok === true
        ? (answer['members'] as readonly { readonly name: string; readonly role: string }[])
        : undefined;
    }, LEADER_WITHIN_MS);
    return new Map(members?.map(({ name, role }) => [name, role]));
  };
  if (cluster.spare.state === 'stopped') cluster.spare.resume();
  let roles = await rolesSeen();
  if (roles.has(spare)) await membership.remove(spare);
  await cluster.stopSpare();
  for (const name of cluster.names) {
    if (cluster.node(name).state === 'dead') await cluster.node(name).start();
    if (!roles.has(name)) {
      // A directory whose node has left is never let in again.
      if (cluster.status(name)?.role === 'removed') {
        await cluster.node(name).terminate();
        cluster.wipe(name);
        await cluster.node(name).start();
      }
      await membership.add(name);
    }
  }
  roles = await rolesSeen();
  for (const name of cluster.names) if (roles.get(name) !== 'voter') await membership.promote(name);
}

async function change(
  cluster: Cluster,
  target: string,
  act: (membership: Membership) => Promise<void>,
): Promise<FaultOutcome> {
  const membership = new Membership(cluster);
  let failed: string | undefined;
  try {
    await act(membership);
  } catch (error) {
    if (!(error instanceof StepFailed)) throw error;
    failed = error.message;
  } finally {
    if (failed !== undefined) await restore(cluster);
  }
  return {
    target,
    worked: failed === undefined,
    evidence: `${failed === undefined ? '' : `${failed}; before that: `}${membership.steps.join(', ')}`,
  };
}

const unavailable = (): string | undefined =>
  canTellDialers() ? undefined : 'without /proc nobody can say who dials an address that stands in the log';

const memberChurn: Fault = {
  kind: 'member-churn',
  track: 'server',
  what: 'a node is added as a learner, promoted, sometimes made to lead, and removed again',
  unavailable,
  async run({ cluster, signal }: FaultContext, random: Random) {
    await cluster.waitForLeader(LEADER_WITHIN_MS);
    const { name } = cluster.spare.spec;
    const outcome = await change(cluster, name, async (membership) => {
      await membership.add(name);
      await cluster.startSpare();
      await membership.role(name, 'learner');
      await membership.promote(name);
      if (random.chance(0.5)) await membership.lead(name);
      await sleep(random.between(0, 400), signal);
      await membership.remove(name);
      await membership.role(name, 'removed');
    });
    await cluster.stopSpare();
    return outcome;
  },
};

const memberReplace: Fault = {
  kind: 'member-replace',
  track: 'server',
  what: "a member leaves (the leader in good order, or a follower by kill -9), loses its disk, and comes back through the others' log",
  unavailable,
  async run({ cluster }: FaultContext, random: Random) {
    const leader = await cluster.waitForLeader(LEADER_WITHIN_MS);
    if (leader === undefined) return NOBODY_LEADS;
    const target = random.chance(0.5) ? leader : random.pick(cluster.followers());
    const node = cluster.node(target);
    return change(cluster, target, async (membership) => {
      if (target === leader) {
        await membership.remove(target);
        await membership.role(target, 'removed');
        await node.terminate();
        cluster.wipe(target);
        await node.start();
      } else {
        await node.kill();
        cluster.wipe(target);
        await node.start();
        // It must not take part under the name of the one that had promised something.
        await membership.role(target, 'joining');
        await membership.remove(target);
      }
      await membership.add(target);
      await membership.role(target, 'learner');
      await membership.promote(target);
      await membership.role(target, 'follower');
    });
  },
};

export const MEMBERSHIP_FAULTS: readonly Fault[] = [memberChurn, memberReplace];
